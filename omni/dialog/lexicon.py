"""What a few words mean: assent, a wish to stop somebody's speech, a question, or more to come.

Hides the word lists of each language and how a text is cut into words to be looked up. Where the
language is unknown, the lists of all count.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

Phrases = set[tuple[str, ...]]
Meaning = Literal["nothing", "assent", "stop", "question", "words"]

NUM_STOP_WORDS_IN: Final = 3  # a wish to stop comes first: "well, no wait …"
MIN_TOLD_WORDS: Final = 4  # less is an answer: "the red one"

# Sounds that are the same everywhere: mm, hm, uh-huh, ah, oh, um, ha ha.
_SOUND: Final = re.compile(
    r"m+h*m*|h+m+|u+h+|u+m+|a+h*|o+h*|e+h+m*|e+r+m*|huh|(h[aeio]h?){2,}|ha+h*"
)
_BRACKETED: Final = re.compile(r"\([^)]*\)|\[[^\]]*\]|\*[^*]*\*")  # "[laughter]"
_CJK: Final = "\u3040-\u30ff\u3400-\u9fff"
_WORD: Final = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")

_ASSENT: Final[Mapping[str, str]] = {
    "en": "yeah|yes|yep|yup|ya|right|ok|okay|k|sure|true|exactly|indeed|totally|absolutely|great|"
    "good|nice|cool|wow|really|alright|all right|i see|got it|gotcha|of course|makes sense|"
    "sounds good|that s right|that s true|thanks|thank you|thank you very much|you|fine|perfect|"
    "interesting|i know|fair enough|so|bye|bless you|excellent|lovely|amazing|definitely|for sure|"
    "aha|yea|huh|no problem|no worries|no kidding|no doubt|no way",
    "es": "sí|si|vale|claro|claro que sí|ya|ajá|bueno|bien|muy bien|de acuerdo|entiendo|exacto|"
    "gracias|ya veo|por supuesto|perfecto|eso|genial|"
    "aja|ok|okay|correcto|cierto|qué bien|ah ya",
    "fr": "oui|ouais|d accord|ok|bien|très bien|bien sûr|voilà|c est ça|exactement|je vois|ah bon|"
    "merci|entendu|tout à fait|super|bon|mais oui|"
    "okay|exact|parfait|c est vrai|ouaip",
    "de": "ja|jo|jawohl|genau|okay|gut|klar|aha|achso|ach so|stimmt|verstehe|richtig|danke|"
    "alles klar|na klar|sehr gut|schön|eben|natürlich|"
    "ok|ach|ah ja|ach ja|super|prima|toll|doch",
    "it": "sì|si|certo|va bene|bene|ok|esatto|capisco|giusto|ecco|grazie|d accordo|già|perfetto|"
    "okay|davvero|chiaro",
    "pt": "sim|é|claro|tá|tá bom|certo|isso|entendi|ok|bom|exato|obrigado|obrigada|pois é|beleza|"
    "okay|uhum|aham|legal|verdade|pois|claro que sim",
    "zh": "嗯|对|好|好的|是|是的|哦|啊|没错|谢谢|对对|知道了|明白|行|是啊|好吧|好啊|当然|没问题|"
    "原来如此|有道理|對|對對|沒錯|謝謝|當然|沒問題|原來如此",
    "ja": "うん|はい|ええ|そう|そうですね|そうです|なるほど|へえ|ああ|ね|おお|わかりました|"
    "そうだね|そうか|そっか|たしかに|確かに|本当|ほんと|すごい|いいね|了解|オッケー|ありがとう|"
    "ふーん|ふうん|へー",
    "ko": "네|예|응|그래|그래요|맞아|맞아요|아|음|그렇군요|좋아|좋아요|알겠어요|알겠습니다|"
    "오케이|고마워|감사합니다",
    "ru": "да|ага|угу|ясно|понятно|хорошо|ладно|верно|точно|конечно|спасибо|ок|окей|так|ну|"
    "правда|отлично|здорово",
    "nl": "ja|jawel|oké|ok|goed|prima|precies|juist|klopt|aha|bedankt|dank je|mooi|natuurlijk",
    "hi": "हाँ|हां|जी|ठीक है|अच्छा|सही",
}
_STOP: Final[Mapping[str, str]] = {
    "en": "stop|wait|no|nope|hold on|hang on|hold up|shut up|be quiet|quiet|enough|cancel|pause|"
    "never mind|nevermind|excuse me|one moment|one second|just a second|just a moment|listen|"
    "forget it|let me|that s wrong|not that|actually|sorry but|stop it|silence|hush|"
    "sorry|pardon|hey|hello|question",
    "es": "para|pare|basta|espera|espere|no|un momento|alto|cállate|silencio|perdona|perdón|oye|"
    "un segundo|pregunta",
    "fr": "stop|arrête|arrêtez|attends|attendez|non|un moment|une seconde|ça suffit|tais toi|"
    "silence|pardon|excusez moi|écoute|laisse tomber|"
    "arrete|attend|stoppe|chut|une minute|désolé|question",
    "de": "stopp|stop|halt|warte|warten sie|nein|nee|moment|augenblick|sei still|ruhe|genug|"
    "entschuldigung|hör auf|vergiss es|"
    "wart|wart mal|sekunde|frage",
    "it": "ferma|fermati|fermo|basta|aspetta|aspetti|no|un momento|un attimo|zitto|scusa|scusi|"
    "stop|alt|silenzio|un secondo|domanda",
    "pt": "para|pare|espera|espere|não|um momento|chega|basta|cala a boca|silêncio|desculpa|"
    "stop|peraí|um segundo|pergunta",
    "zh": "停|停下|等|等等|等一下|稍等|打住|闭嘴|不|不是|不对|不要|别|别说了|够了|安静|"
    "不對|別|別說了|夠了|安靜|閉嘴",
    "ja": "待って|ちょっと待って|ストップ|止めて|やめて|いや|いいえ|違う|もういい|"
    "ちょっと|待った|やめ|いえ|静かに|すみません",
    "ko": "잠깐|잠깐만|잠깐만요|멈춰|그만|아니|아니요|아니야|기다려|스톱|조용히|됐어",
    "ru": "стоп|стой|постой|подожди|подождите|погоди|нет|хватит|минуту|минутку|секунду|тихо|"
    "замолчи|прекрати|извини|извините|не надо",
    "nl": "stop|wacht|nee|een moment|moment|genoeg|stil|hou op|sorry",
    "hi": "रुको|रुकिए|नहीं|बस|ठहरो|चुप",
}
_QUESTION: Final[Mapping[str, str]] = {
    "en": "what|why|how|when|where|who|whose|whom|which|can you|could you|would you|will you|"
    "do you|did you|are you|is it|is that|is there|does|tell me|what s|who s|how s|can i|could i|"
    "should i|may i|are there|have you|where s|when s|why s|how come",
    "es": "qué|por qué|cómo|cuándo|cuánto|dónde|quién|cuál|puedes|podrías|puede|dime",
    "fr": "que|quoi|pourquoi|comment|quand|où|qui|quel|quelle|combien|est ce que|qu est ce|"
    "peux tu|pouvez vous|dis moi",
    "de": "was|warum|wieso|wie|wann|wo|wer|wen|welche|welcher|welches|kannst du|können sie|sag mir",
    "it": "che|cosa|perché|come|quando|dove|chi|quale|quanto|puoi|può|dimmi",
    "pt": "que|o que|por que|porque|como|quando|onde|quem|qual|quanto|você pode|me diga",
    "zh": "什么|为什么|怎么|什么时候|哪|谁|几|多少|能不能|可以|什麼|為什麼|怎麼|誰|幾",
    "ko": "뭐|왜|어떻게|언제|어디|누구|무엇|얼마|몇",
    "ru": "что|почему|зачем|как|когда|где|кто|какой|какая|какие|сколько|расскажи|можешь|скажи",
    "nl": "wat|waarom|hoe|wanneer|waar|wie|welke|kun je|kan je|kunt u",
    "ja": "何|なに|なぜ|どうして|どう|いつ|どこ|誰|どれ|いくら",
    "hi": "क्या|क्यों|कैसे|कब|कहाँ|कौन",
}
# Words that ask for another one: nobody ends a turn with them.
_OPEN: Final[Mapping[str, str]] = {
    "en": "and|but|or|because|the|a|an|of|to|for|with|my|your|our|their|if|than|um|uh|er|from|at|"
    "into|about|i m|it s|we re|they re|i ll|i d|which|whose|when the|as|like a|is a|can you|"
    "could you|would you|do you|what is the|tell me about|i want|i d like|to know|wants to|"
    "explain to me|tell me|show me|give me|told me|asked me|i think|i think that|i wonder|i mean|"
    "i was wondering|i was thinking|i heard that|the thing is|my question is|what if|how about|"
    "is the difference|s the difference|such as|for example|instead of|according to|"
    "let me think|let me see|let s see",
    "es": "y|pero|o|porque|el|la|los|las|un|una|de|del|a|al|para|con|mi|tu|su|si|que|en|eh|por",
    "fr": "et|mais|ou|parce que|le|la|les|un|une|des|de|du|à|au|pour|avec|mon|ma|mes|si|que|en|"
    "euh|dans|sur",
    "de": "und|aber|oder|weil|der|die|das|ein|eine|von|zu|für|mit|mein|meine|wenn|dass|in|äh|auf",
    "it": "e|ma|o|perché|il|lo|la|i|gli|le|un|una|di|del|a|per|con|mio|mia|se|che|in|ehm",
    "pt": "e|mas|ou|porque|o|a|os|as|um|uma|de|do|da|para|com|meu|minha|se|que|em|hum",
}
# Of these, the ones that cannot even end a question ("where are you from?" can).
_ARTICLE: Final[Mapping[str, str]] = {
    "en": "the|a|an|my|your|our|their|and|or|because|if|than|very|um|uh",
    "es": "el|la|los|las|un|una|del|al|mi|tu|y|o|porque|de|en",
    "fr": "le|les|un|une|des|de|du|au|mon|ma|mes|et|ou|parce que",
    "de": "ein|eine|mein|meine|und|oder|weil|dass|wenn|von|für",
    "it": "il|lo|i|gli|le|un|una|del|di|mio|mia|e|o|se",
    "pt": "o|os|as|um|uma|do|da|de|meu|minha|e|ou|se",
}
# Words that begin a clause on which another one must follow.
_LEADING: Final[Mapping[str, str]] = {
    "en": "when|if|because|although|while|since|after|before|whenever|unless",
    "es": "cuando|si|aunque|mientras|como",
    "fr": "quand|si|lorsque|pendant que|comme|puisque",
    "de": "wenn|als|obwohl|während|weil|da",
    "it": "quando|se|mentre|siccome",
    "pt": "quando|se|enquanto|embora",
}
# Words with which something is told, not asked for: who tells one thing may tell another.
_TELLING: Final[Mapping[str, str]] = {
    "en": "i|we|he|she|they|it|my|our|his|her|their|there|yesterday|today|the|a|an|last",
    "es": "yo|nosotros|él|ella|ellos|mi|mis|nuestro|nuestra|su|hay|ayer|hoy|el|la|los|las|un|una",
    "fr": "je|j|nous|il|elle|ils|elles|on|mon|ma|mes|notre|nos|hier|le|la|les|un|une|c",
    "de": "ich|wir|er|es|mein|meine|unser|unsere|gestern|heute|der|die|das|ein|eine",
    "it": "io|noi|lui|lei|mio|mia|nostro|nostra|ieri|oggi|il|lo|la|i|gli|le|un|una|ho|sono",
    "pt": "eu|nós|ele|ela|eles|elas|meu|minha|nosso|nossa|ontem|hoje|o|a|os|as|um|uma",
}


@dataclass(frozen=True, slots=True, eq=False)
class Remark:
    """`num_words` counts those that are neither assent nor mere sounds."""

    meaning: Meaning
    num_words: int


def read(text: str, language: str) -> Remark:
    """What a text says, as far as a list of words can tell; `language` is ISO 639-1 or ""."""
    words = words_of(text)
    kept = _without_assent(words, _phrases("assent", language))
    if not words:
        return Remark("nothing", 0)
    if not kept:
        return Remark("assent", 0)
    stops = _phrases("stop", language)
    if any(_match_at(kept, at, stops) for at in range(min(len(kept), NUM_STOP_WORDS_IN))):
        return Remark("stop", len(kept))
    asks = text.rstrip().endswith(("?", "？")) and len(kept) > 1
    questions = _phrases("question", language)
    if asks or any(_match_at(kept, at, questions) for at in range(min(len(kept), 2))):
        return Remark("question", len(kept))
    return Remark("words", len(kept))


def asks_for_more(text: str, language: str) -> bool:
    """Whether a text cannot be all that its speaker meant to say, by its last words.

    False for a language without a list: a wrong list would make the speaker wait.
    """
    if text.rstrip().endswith((",", "...", "…", "-", "—", ":")):
        return True
    words = words_of(text)
    if language not in _OPEN or text.rstrip().endswith("?"):
        # Recognisers end what begins as a question with a mark: "can you tell me about the?"
        return language in _ARTICLE and tuple(words[-1:]) in _phrases("article", language)
    phrases = _phrases("open", language)
    has_one_clause = not re.search(r"[,;.!?]\s+\w", text)
    if has_one_clause and _match_at(words, 0, _phrases("leading", language)):
        return True
    return any(tuple(words[-length:]) in phrases for length in (1, 2, 3))


def tells(text: str, language: str) -> bool:
    """Whether a text tells of something, rather than answers, asks for or forbids something.

    False for a language without a list, as in `asks_for_more`.
    """
    if language not in _TELLING or read(text, language).meaning != "words":
        return False
    words = _without_assent(words_of(text), _phrases("assent", language))
    return len(words) >= MIN_TOLD_WORDS and bool(_match_at(words, 0, _phrases("telling", language)))


def words_of(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation; ideographs and kana one by one."""
    plain = unicodedata.normalize("NFKC", _BRACKETED.sub(" ", text)).lower()
    return _WORD.findall(_with_marks(plain))


def _with_marks(text: str) -> str:
    # Vowel signs of Indic scripts are marks, not letters, to `re`: keep words whole.
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] != "M" else "" for c in text)


@cache
def _phrases(
    kind: Literal["assent", "stop", "question", "open", "article", "leading", "telling"],
    language: str,
) -> Phrases:
    by_kind = {"assent": _ASSENT, "stop": _STOP, "question": _QUESTION, "open": _OPEN,
               "article": _ARTICLE, "leading": _LEADING, "telling": _TELLING}  # fmt: skip
    lists = by_kind[kind]
    chosen = [lists[language]] if language in lists else lists.values()
    return {tuple(words_of(phrase)) for listed in chosen for phrase in listed.split("|")}


def _without_assent(words: list[str], phrases: Phrases) -> list[str]:
    kept, at = [], 0
    while at < len(words):
        length = _match_at(words, at, phrases) or bool(_SOUND.fullmatch(words[at]))
        if not length:
            kept.append(words[at])
        at += length or 1
    return kept


def _match_at(words: list[str], at: int, phrases: Phrases) -> int:
    """Length of the longest phrase that begins at a word, in words; 0 if none does."""
    rest = len(words) - at
    lengths = sorted({len(phrase) for phrase in phrases}, reverse=True)
    return next((n for n in lengths if n <= rest and tuple(words[at : at + n]) in phrases), 0)

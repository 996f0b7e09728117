"""Words, speech and hearing of omni with the stock OpenAI SDK, without a conversation.

    pip install openai
    python examples/chat_completions.py "Where do penguins live?" answer.mp3 [picture.jpg]

Writes the answer as it comes, speaks it into a file, and hears the file again. With a picture, the
question is about it. Nothing here is omni's own but the address.
"""

import base64
import os
import sys
from pathlib import Path

from openai import OpenAI


def main(question: str, sound: str, picture: str | None = None) -> None:
    client = OpenAI(
        api_key=os.environ.get("OMNI_API_KEY", "none"),
        base_url=os.environ.get("OMNI_URL", "http://127.0.0.1:8080/v1"),
    )
    content = [{"type": "text", "text": question}]
    if picture:
        payload = base64.b64encode(Path(picture).read_bytes()).decode()
        url = f"data:image/jpeg;base64,{payload}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    stream = client.chat.completions.create(
        model="omni", messages=[{"role": "user", "content": content}], stream=True
    )
    answer = ""
    for chunk in stream:
        delta = chunk.choices[0].delta.content or ""
        answer += delta
        print(delta, end="", flush=True)
    print()

    with client.audio.speech.with_streaming_response.create(
        model="omni", voice="alloy", input=answer, response_format="mp3"
    ) as speech:
        speech.stream_to_file(sound)
    with Path(sound).open("rb") as file:
        heard = client.audio.transcriptions.create(model="omni", file=file)
    print(f"heard again: {heard.text}")


if __name__ == "__main__":
    main(*sys.argv[1:4])

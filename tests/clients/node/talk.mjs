// A conversation with @openai/agents-realtime in Node: MODULES URL QUESTION.pcm PHOTO.png
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const [modules, url, questionPath, photoPath] = process.argv.slice(2);
const require = createRequire(join(modules, 'x.js'));
const { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } = require(
  '@openai/agents-realtime',
);
const { z } = require('zod');

const LONG = Array(30).fill('a long story').join(' '); // as in conftest.py
const CHUNK_BYTES = 4800; // 100 ms
const question = await readFile(questionPath);
const photo = `data:image/png;base64,${(await readFile(photoPath)).toString('base64')}`;

const tell = (step, fields = {}) => console.log(JSON.stringify({ step, ...fields }));
const until = async (ready) => {
  for (let tries = 0; !ready(); tries += 1) {
    if (tries > 4000) throw new Error(`never came true: ${ready}`);
    await sleep(50);
  }
};

const calls = [];
const weather = tool({
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    calls.push(city);
    return `It is sunny in ${city}`;
  },
});
const agent = new RealtimeAgent({ name: 'Guide', instructions: 'Be brief.', tools: [weather] });
const transport = new OpenAIRealtimeWebSocket({ url });
const session = new RealtimeSession(agent, { transport, model: 'omni' });

const errors = [];
const turns = [];
let audioBytes = 0;
let interruptions = 0;
let updates = 0;
session.on('error', ({ error }) => errors.push(JSON.stringify(error)));
session.on('audio', ({ data }) => (audioBytes += data.byteLength));
session.on('audio_interrupted', () => (interruptions += 1));
transport.on('turn_done', ({ response }) => turns.push(response));
transport.on('session.updated', () => (updates += 1));

const said = (role) => {
  const item = session.history.filter((one) => one.role === role).at(-1);
  return item?.content.map((part) => part.transcript ?? part.text ?? '').join(' ');
};

// A microphone is never off: what is said, then silence.
let speech = Buffer.alloc(0);
const microphone = setInterval(() => {
  const chunk = new Uint8Array(CHUNK_BYTES);
  chunk.set(speech.subarray(0, CHUNK_BYTES));
  speech = speech.subarray(CHUNK_BYTES);
  session.sendAudio(chunk.buffer);
}, 50);

await session.connect({ apiKey: 'ek_none' });
await until(() => updates >= 2); // one for the settings, one for tracing
tell('connected');

speech = question;
await until(() => turns.length === 1 && said('assistant') && said('user'));
const { usage } = turns[0];
tell('answered', { you: said('user'), omni: said('assistant'), audioBytes, usage });

session.sendMessage(LONG);
const heardBytes = audioBytes;
await until(() => audioBytes > heardBytes + 24000);
interruptions = 0;
speech = question;
await until(() => interruptions > 0 && turns.length === 2);
const [cut] = turns[1].output;
await until(() => session.history.find((item) => item.itemId === cut.id).status === 'incomplete');
const kept = session.history.find((item) => item.itemId === cut.id);
tell('interrupted', { omni: kept.content[0].transcript });
await until(() => turns.length === 3);
tell('answered again', { omni: said('assistant') });

session.sendMessage('Please get_weather');
await until(() => turns.length === 5);
tell('called', { calls, omni: said('assistant') });

session.addImage(photo, { triggerResponse: false });
session.sendMessage('What is this?');
await until(() => turns.length === 6);
tell('shown', { omni: said('assistant') });

clearInterval(microphone);
session.close();
tell('closed', { errors, status: transport.status });

// Reads server events, one a line; prints what the schemas of @openai/agents-realtime refuse
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const schemas = join(process.argv[2], '@openai/agents-realtime/dist/openaiRealtimeEvents.mjs');
const { realtimeServerEventSchema } = await import(pathToFileURL(schemas));

for await (const line of createInterface({ input: process.stdin })) {
  const event = JSON.parse(line);
  const { success, error } = realtimeServerEventSchema.safeParse(event);
  if (success) continue;
  const found = error.issues.slice(0, 3).map((issue) => `${issue.path.join('.')} ${issue.code}`);
  console.log(`${event.type}: ${found.join('; ')}`);
}

// MQTT.js as a device that sends a file in segments, many of them in flight. What
// becomes of the connection is the library's: it reconnects, and sends again what
// was not acknowledged.
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const mqtt = require('mqtt');
const { options: o, tell, fail } = require('./talk.cjs');

(async () => {
  const content = fs.readFileSync(o.file);
  const client = mqtt.connect(o.url, {
    protocolVersion: o.version === 5 ? 5 : 4, clientId: o.client, clean: false, reconnectPeriod: 100, keepalive: 60,
    properties: o.version === 5 ? { sessionExpiryInterval: 300 } : undefined,
  });
  client.on('error', () => {}); // a gateway that is away: it is tried again
  await new Promise((resolve) => { client.once('connect', resolve); });
  const command = async (topic, payload) => {
    for (;;) {
      try {
        return await client.publishAsync(`${o.topic}/${topic}`, payload, { qos: 1 });
      } catch (err) { // cut once more while it was repeating: it gives that up
        if (err.message !== 'Connection closed') throw err;
      }
    }
  };
  await command('init', JSON.stringify({ name: 'film.bin' }));
  const count = Math.ceil(content.length / o.segment);
  let next = 0;
  let acked = 0;
  const work = async () => {
    while (next < count) {
      const at = next * o.segment;
      next += 1;
      await command(`${at}`, content.subarray(at, at + o.segment));
      acked += 1;
      tell('acked', { code: acked });
    }
  };
  await Promise.all(Array.from({ length: 40 }, work));
  await command(`fin/${content.length}/${createHash('sha256').update(content).digest('hex')}`, '');
  tell('sent');
  await client.endAsync();
  process.exit(0);
})().catch(fail);

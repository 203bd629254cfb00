// MQTT.js as a device with QoS 2 whose connection is cut while it publishes and
// receives: the library reconnects and resumes by itself.
const mqtt = require('mqtt');
const { options: o, tell, proceed, fail } = require('./talk.cjs');

const v5 = o.version === 5;
const atOnce = 40; // below the broker's Receive Maximum, which the library does not count for itself

(async () => {
  const client = mqtt.connect(o.url, {
    protocolVersion: v5 ? 5 : 4, clientId: o.client, clean: false, reconnectPeriod: 20, keepalive: 60,
    properties: v5 ? { sessionExpiryInterval: 300 } : undefined,
  });
  client.on('error', (err) => { if (!['ECONNRESET', 'ECONNREFUSED', 'EPIPE'].includes(err.code)) fail(err); });
  const got = [];
  let changed = () => {};
  client.on('message', (topic, payload, packet) => {
    got.push({ topic, text: payload.toString(), qos: packet.qos });
    changed();
  });
  const until = async (n) => {
    while (got.length < n) await new Promise((resolve) => { changed = resolve; });
  };
  await new Promise((resolve) => client.once('connect', resolve));
  const granted = await client.subscribeAsync(`${o.topic}/#`, { qos: 2 });
  tell('subscribed', { granted: granted.map((g) => g.qos) });
  for (let i = 0; i < o.messages; i += atOnce) {
    const size = Math.min(atOnce, o.messages - i);
    const sent = Array.from({ length: size }, (_, k) => client.publishAsync(`${o.topic}/t`, `m${i + k}`, { qos: 2 }));
    await until(i + size / 4);
    tell('under way'); // the rest of them flies
    await proceed();
    await Promise.all(sent);
  }
  await client.publishAsync(`${o.topic}/t`, 'end', { qos: 2 });
  await until(o.messages + 1);
  tell('received', { messages: got });
  client.end(true);
  process.exit(0);
})().catch(fail);

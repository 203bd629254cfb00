// MQTT.js, 3.1.1 or 5, as a device.
const fs = require('node:fs');
const mqtt = require('mqtt');
const { options: o, tell, proceed, fail, user } = require('./talk.cjs');

const v5 = o.version === 5;

async function connect(clean) {
  const client = mqtt.connect(o.url, {
    protocolVersion: v5 ? 5 : 4,
    clientId: o.client,
    clean,
    reconnectPeriod: 0,
    keepalive: 60,
    queueQoSZero: false,
    ca: o.ca && fs.readFileSync(o.ca),
    cert: o.cert && fs.readFileSync(o.cert),
    key: o.key && fs.readFileSync(o.key),
    properties: v5 ? { sessionExpiryInterval: 300, topicAliasMaximum: 0 } : undefined,
  });
  const got = [];
  client.on('message', (topic, payload, packet) => {
    const p = packet.properties || {};
    got.push({
      topic, text: payload.toString(), qos: packet.qos, contentType: p.contentType, responseTopic: p.responseTopic,
      correlation: p.correlationData && p.correlationData.toString(),
      user: user(Object.entries(p.userProperties || {})),
    });
  });
  const connack = await new Promise((resolve, reject) => {
    client.once('connect', resolve);
    client.once('error', reject);
    client.once('close', () => reject(new Error('closed before CONNACK')));
  });
  client.on('error', fail);
  tell('connected', { present: connack.sessionPresent, properties: connack.properties });
  const until = async (n) => {
    while (got.length < n) await new Promise((r) => setTimeout(r, 10));
    return got;
  };
  return { client, until };
}

function publish(client, topic, text, qos) {
  const properties = v5 ? {
    contentType: 'text/plain', responseTopic: `${o.topic}/answers`, correlationData: Buffer.from('c-1'),
    userProperties: { origin: 'mqttjs' },
  } : undefined;
  return new Promise((resolve) => {
    client.publish(topic, text, { qos, properties }, (err, packet) => resolve(err ? { code: err.code, text: err.message } : { code: packet && packet.reasonCode }));
  });
}

(async () => {
  let { client, until } = await connect(true);
  const granted = await client.subscribeAsync(`${o.topic}/#`, { qos: o.qos });
  tell('subscribed', { granted: granted.map((g) => g.qos) });
  await Promise.all(Array.from({ length: o.messages }, (_, i) => publish(client, `${o.topic}/t`, `m${i}`, o.qos)));
  tell('received', { messages: await until(o.messages) });
  if (o.denied) tell('denied', await publish(client, o.denied, 'x', 1));
  await client.endAsync();

  ({ client } = await connect(false));
  await client.subscribeAsync(`${o.topic}/#`, { qos: o.qos });
  await client.endAsync();
  tell('away');
  await proceed();
  ({ client, until } = await connect(false));
  tell('resumed', { messages: await until(o.queued) });
  await client.endAsync();
  process.exit(0);
})().catch(fail);

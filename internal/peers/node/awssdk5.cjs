// AWS IoT Device SDK v2 for JavaScript, MQTT 5, as a device.
const { iot, mqtt5 } = require('aws-iot-device-sdk-v2');
const { once } = require('node:events');
const { options: o, tell, proceed, fail, user } = require('./talk.cjs');

function build(resume) {
  const config = iot.AwsIotMqtt5ClientConfigBuilder
    .newDirectMqttBuilderWithMtlsFromPath(o.host, o.cert, o.key)
    .withPort(o.port)
    .withCertificateAuthorityFromPath(undefined, o.ca)
    .withConnectProperties({ clientId: o.client, keepAliveIntervalSeconds: 60, sessionExpiryIntervalSeconds: 300 })
    .withSessionBehavior(resume ? mqtt5.ClientSessionBehavior.RejoinAlways : mqtt5.ClientSessionBehavior.Clean)
    .build();
  return new mqtt5.Mqtt5Client(config);
}

async function connect(resume) {
  const client = build(resume);
  const got = [];
  client.on('error', fail);
  client.on('connectionFailure', (e) => fail(e.error));
  client.on('messageReceived', ({ message: m }) => got.push({
    topic: m.topicName, text: Buffer.from(m.payload || '').toString(), qos: m.qos, contentType: m.contentType,
    responseTopic: m.responseTopic, correlation: m.correlationData && Buffer.from(m.correlationData).toString(),
    user: user((m.userProperties || []).map((u) => [u.name, u.value])),
  }));
  const success = once(client, 'connectionSuccess');
  client.start();
  const [{ connack, settings }] = await success;
  tell('connected', { present: connack.sessionPresent, properties: connack, settings });
  const until = async (n) => {
    while (got.length < n) await new Promise((r) => setTimeout(r, 10));
    return got;
  };
  const end = async () => {
    const stopped = once(client, 'stopped');
    client.stop({ reasonCode: mqtt5.DisconnectReasonCode.NormalDisconnection });
    await stopped;
    client.close();
  };
  return { client, until, end };
}

const publish = (client, topic, text, qos) => client.publish({
  topicName: topic, qos, payload: text, contentType: 'text/plain', responseTopic: `${o.topic}/answers`,
  correlationData: Buffer.from('c-1'), userProperties: [{ name: 'origin', value: 'awssdk' }],
});

(async () => {
  let { client, until, end } = await connect(false);
  const suback = await client.subscribe({ subscriptions: [{ topicFilter: `${o.topic}/#`, qos: o.qos }] });
  tell('subscribed', { granted: suback.reasonCodes });
  await Promise.all(Array.from({ length: o.messages }, (_, i) => publish(client, `${o.topic}/t`, `m${i}`, o.qos)));
  tell('received', { messages: await until(o.messages) });
  if (o.denied) tell('denied', { code: (await publish(client, o.denied, 'x', 1)).reasonCode });
  await end();

  ({ client, end } = await connect(true));
  await client.subscribe({ subscriptions: [{ topicFilter: `${o.topic}/#`, qos: o.qos }] });
  await end();
  tell('away');
  await proceed();
  ({ client, until, end } = await connect(true));
  tell('resumed', { messages: await until(o.queued) });
  await end();
  process.exit(0);
})().catch(fail);

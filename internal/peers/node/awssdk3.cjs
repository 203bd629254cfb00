// AWS IoT Device SDK v2 for JavaScript, MQTT 3.1.1, as a device. It gives a
// user name with its version, which a broker has to take no notice of.
const { iot, mqtt } = require('aws-iot-device-sdk-v2');
const { options: o, tell, proceed, fail } = require('./talk.cjs');

async function connect(clean) {
  const config = iot.AwsIotMqttConnectionConfigBuilder.new_mtls_builder_from_path(o.cert, o.key)
    .with_endpoint(o.host)
    .with_port(o.port)
    .with_certificate_authority_from_path(undefined, o.ca)
    .with_client_id(o.client)
    .with_clean_session(clean)
    .with_keep_alive_seconds(60)
    .build();
  const connection = new mqtt.MqttClient().new_connection(config);
  const got = [];
  connection.on('error', fail);
  connection.on('message', (topic, payload, _dup, qos) => got.push({ topic, text: Buffer.from(payload).toString(), qos, user: [] }));
  tell('connected', { present: await connection.connect() });
  const until = async (n) => {
    while (got.length < n) await new Promise((r) => setTimeout(r, 10));
    return got;
  };
  return { connection, until };
}

(async () => {
  let { connection, until } = await connect(true);
  const granted = await connection.subscribe(`${o.topic}/#`, o.qos);
  tell('subscribed', { granted: [granted.qos] });
  await Promise.all(Array.from({ length: o.messages }, (_, i) => connection.publish(`${o.topic}/t`, `m${i}`, o.qos)));
  tell('received', { messages: await until(o.messages) });
  await connection.disconnect();

  ({ connection } = await connect(false));
  await connection.subscribe(`${o.topic}/#`, o.qos);
  await connection.disconnect();
  tell('away');
  await proceed();
  ({ connection, until } = await connect(false));
  tell('resumed', { messages: await until(o.queued) });
  await connection.disconnect();
  process.exit(0);
})().catch(fail);

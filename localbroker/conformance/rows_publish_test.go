package conformance

const (
	refusedTopic5 = switches + "refused_topic_mqtt5"
	refusedTopic3 = switches + "refused_topic_mqtt3"
)

// publishRows are §1.4.
func publishRows() []row {
	return []row{
		{id: "B72", mqtt: "any", what: "PUBLISH of QoS 0: routed, no acknowledgement", basis: documented},
		{id: "B73", mqtt: "3.1.1", what: "PUBLISH of QoS 1: PUBACK once it is accepted", basis: documented},
		{id: "B74", mqtt: "5", what: "PUBLISH of QoS 1: PUBACK 0x00 once it is accepted", basis: documented},
		{id: "B75", mqtt: "3.1.1", what: "PUBLISH of QoS 2: passed over, no answer ever", basis: observed, guess: "silence or the end: both were seen", key: switches + "qos2_mqtt3"},
		{id: "B76", mqtt: "5", what: "PUBLISH of QoS 2: DISCONNECT 0x9B", basis: documented, guess: "that it is this stimulus", why: "CONNACK has announced Maximum QoS 1, and MQTT names this code"},
		{id: "B77", mqtt: "any", what: "PUBREC, PUBREL or PUBCOMP: closed, MQTT 5 with 0x82", basis: documented, guess: "the code", why: onlyCode},
		{id: "B78", mqtt: "any", what: "PUBLISH with DUP: a fresh message, nothing is taken for a duplicate", basis: documented, guess: "that a duplicate is published again", why: "MQTT allows it for QoS 1, and AWS says that DUP is not supported"},
		{id: "B79", mqtt: "any", what: "a topic with + or #: refused with 0x90, of 3.1.1 the connection ends", basis: documented, guess: "the answer", key: refusedTopic5 + " " + refusedTopic3},
		{id: "B80", mqtt: "5", what: "a topic above 256 bytes or 7 slashes: PUBACK 0x90, with QoS 0 DISCONNECT 0x90", basis: documented, guess: "which topics have these codes", key: refusedTopic5},
		{id: "B81", mqtt: "3.1.1", what: "the same: closed", basis: guessed, key: refusedTopic3},
		{id: "B82", mqtt: "any", what: "a $ topic that AWS does not reserve: refused with 0x90, of 3.1.1 and QoS 0 the connection ends", basis: documented, guess: "the answer", key: refusedTopic5 + " " + refusedTopic3},
		{id: "B83", mqtt: "any", what: "RETAIN on a reserved topic: refused with 0x90, of 3.1.1 and QoS 0 the connection ends", basis: documented, guess: "the answer", key: refusedTopic5 + " " + refusedTopic3},
		{id: "B84", mqtt: "any", what: "a payload above 128 KB: closed, MQTT 5 with 0x97", basis: documented},
		{id: "B85", mqtt: "5", what: "the policy denies a QoS 1 PUBLISH: PUBACK 0x87", basis: documented, guess: "PUBACK rather than DISCONNECT", key: "listeners[].denied_publish.mqtt5"},
		{id: "B86", mqtt: "3.1.1", what: "the policy denies a PUBLISH: closed", basis: documented},
		{id: "B87", mqtt: "5", what: "a packet id that is still in use: PUBACK 0x91", basis: documented},
		{id: "B88", mqtt: "5", what: "more than 100 PUBLISHes without PUBACK: DISCONNECT 0x93", basis: documented},
		{id: "B89", mqtt: "3.1.1", what: "the same: no more are taken until acknowledgements have left, and none is lost", basis: documented},
		{id: "B90", mqtt: "any", what: "more than 100 PUBLISHes in a second: what is above is discarded and counted", basis: documented},
		{id: "B91", mqtt: "5", what: "such a PUBLISH of QoS 1: PUBACK 0x97", basis: documented, guess: "an answer rather than silence", why: "silence costs the device a time-out and a resend, and says nothing that 0x97 does not"},
		{id: "B92", mqtt: "any", what: "more than 512 KB in a second: taken more slowly, nothing is lost", basis: documented},
		{id: "B93", mqtt: "5", what: "a topic alias of 1 to 8 with a topic: bound, for this connection", basis: documented},
		{id: "B94", mqtt: "5", what: "a bound alias without topic: resolved, and the policy sees the topic", basis: documented},
		{id: "B95", mqtt: "5", what: "an unbound alias without topic: DISCONNECT 0x82", basis: guessed, why: byMQTT},
		{id: "B96", mqtt: "5", what: "alias 0 or above 8: DISCONNECT 0x94", basis: documented},
		{id: "B97", mqtt: "5", what: "Message Expiry 0: as 1", basis: documented},
		{id: "B98", mqtt: "5", what: "Message Expiry above 604800: as 604800", basis: documented},
		{id: "B99", mqtt: "5", what: "no Message Expiry: never expires", basis: documented},
		{id: "B100", mqtt: "5", what: "payload format, content type (256 bytes), response topic, correlation data (8 KB) and user properties (8 KB, in order): forwarded", basis: documented},
		{id: "B101", mqtt: "5", what: "a response topic with a wildcard: DISCONNECT 0x82", basis: documented, guess: "the code", why: onlyCode},
		{id: "B102", mqtt: "5", what: "a Subscription Identifier in a device's PUBLISH: DISCONNECT 0x82", basis: guessed, why: byMQTT},
		{id: "B103", mqtt: "5", what: "a malformed packet: DISCONNECT 0x81", basis: documented},
		{id: "B104", mqtt: "5", what: "a packet that may not come, or not now: DISCONNECT 0x82", basis: documented},
		{id: "B105", mqtt: "any", what: "the order of messages and acknowledgements: AWS promises none; the broker keeps that of the PUBLISHes of a device", basis: documented},
		{id: "B106", mqtt: "any", what: "QoS 1 to $aws/rules/RULE/…: PUBACK once it is handed over, never seen by a subscriber", basis: documented},
		{id: "B107", mqtt: "any", what: "$aws/things/THING/shadow/…: goes up, and the answer comes to the thing that asked", basis: documented},
	}
}

// deliveryRows are §1.5.
func deliveryRows() []row {
	return []row{
		{id: "B108", mqtt: "any", what: "QoS of a delivery: the lower of the PUBLISH's and the granted one", basis: documented},
		{id: "B109", mqtt: "any", what: "a QoS 0 subscription: no or several copies are allowed; the broker sends one, never with DUP", basis: documented},
		{id: "B110", mqtt: "3.1.1", what: "a QoS 1 delivery without PUBACK: sent again for up to an hour, then dropped", basis: documented, guess: "how often it is sent again", key: "listeners[].resend_mqtt3"},
		{id: "B111", mqtt: "5", what: "the same: kept for 16 minutes, then dropped", basis: documented},
		{id: "B112", mqtt: "any", what: "a delivery that is sent again: without DUP", basis: documented},
		{id: "B113", mqtt: "any", what: "100 deliveries without PUBACK: the broker waits", basis: documented},
		{id: "B114", mqtt: "any", what: "several subscriptions of a device match: one copy, at the highest QoS granted", basis: guessed, key: switches + "overlapping"},
		{id: "B115", mqtt: "any", what: "published in MQTT 5, delivered in 3.1.1: without properties, the expiry still counts", basis: documented},
		{id: "B116", mqtt: "any", what: "published in 3.1.1, delivered in MQTT 5: without properties, never expires", basis: documented},
		{id: "B117", mqtt: "5", what: "Message Expiry of a delivery: the seconds that are left, 0 in the last one", basis: documented},
		{id: "B118", mqtt: "5", what: "the expiry has passed while a message was queued, or not acknowledged: it is not delivered", basis: documented},
		{id: "B119", mqtt: "any", what: "right after SUBACK AWS may miss messages; the broker misses none", basis: documented},
		{id: "B120", mqtt: "any", what: "a device subscribed to what it publishes receives it, No Local or not", basis: observed},
	}
}

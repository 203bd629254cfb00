package conformance

const (
	refusedFilter5 = switches + "refused_filter_mqtt5"
	refusedFilter3 = switches + "refused_filter_mqtt3"
)

// subscribeRows are §1.6.
func subscribeRows() []row {
	return []row{
		{id: "B121", mqtt: "3.1.1", what: "SUBSCRIBE of QoS 0 or 1: SUBACK 0x00 or 0x01", basis: documented},
		{id: "B122", mqtt: "5", what: "SUBSCRIBE of QoS 0 or 1: SUBACK 0x00 or 0x01", basis: documented},
		{id: "B123", mqtt: "3.1.1", what: "SUBSCRIBE of QoS 2: no SUBACK", basis: documented},
		{id: "B124", mqtt: "5", what: "SUBSCRIBE of QoS 2: DISCONNECT 0x9B, no SUBACK", basis: documented, guess: "the code", why: onlyCode + "; no SUBACK comes in either case"},
		{id: "B125", mqtt: "any", what: "SUBSCRIBE with more than 8 filters: closed without SUBACK, MQTT 5 with 0x97", basis: documented},
		{id: "B126", mqtt: "any", what: "UNSUBSCRIBE with more than 8 filters: no UNSUBACK, the subscriptions stay", basis: observed},
		{id: "B127", mqtt: "3.1.1", what: "the 51st subscription: SUBACK 0x80 for it", basis: documented},
		{id: "B128", mqtt: "5", what: "the 51st subscription: SUBACK 0x97 for it", basis: documented, guess: "the code", why: onlyCode},
		{id: "B129", mqtt: "5", what: "the policy denies a filter: SUBACK 0x87 for it", basis: documented},
		{id: "B130", mqtt: "3.1.1", what: "the policy denies a filter: SUBACK 0x80 for it", basis: observed, guess: "SUBACK or the end: reports differ", key: "listeners[].denied_subscribe.mqtt3"},
		{id: "B131", mqtt: "5", what: "a filter on an unknown $ topic: SUBACK 0x8F for it, the others are granted", basis: documented},
		{id: "B132", mqtt: "3.1.1", what: "a filter on $SYS or another unknown $ topic: closed", basis: observed},
		{id: "B133", mqtt: "any", what: "filters that begin with # or +: do not match $ topics", basis: guessed, why: byMQTT},
		{id: "B134", mqtt: "any", what: "the filter sensor/#: matches what is below sensor/, not sensor", basis: documented},
		{id: "B135", mqtt: "any", what: "# that is not last, # or + that share their level: SUBACK 0x8F, of 3.1.1 0x80", basis: documented, guess: "what 3.1.1 sees", key: refusedFilter5 + " " + refusedFilter3},
		{id: "B136", mqtt: "any", what: "a filter above 256 bytes or 7 slashes: SUBACK 0x8F, of 3.1.1 0x80", basis: documented, guess: "the answer", key: refusedFilter5 + " " + refusedFilter3},
		{id: "B137", mqtt: "5", what: "a Subscription Identifier: DISCONNECT 0xA1 with AWS's sentence", basis: observed},
		{id: "B138", mqtt: "5", what: "a packet id that is still in use: SUBACK or UNSUBACK 0x91", basis: documented},
		{id: "B139", mqtt: "5", what: "subscriptions too fast: SUBACK 0x97", basis: documented, guess: "that it is this stimulus", why: onlyCode},
		{id: "B140", mqtt: "5", what: "User Properties of SUBSCRIBE: accepted", basis: documented},
		{id: "B141", mqtt: "5", what: "Retain Handling and Retain As Published: do not count; RETAIN is set at subscribe time only", basis: guessed, key: switches + "retain_options"},
		{id: "B142", mqtt: "any", what: "UNSUBSCRIBE of a subscription: UNSUBACK (0x00), nothing comes any more", basis: documented},
		{id: "B143", mqtt: "5", what: "UNSUBSCRIBE of what was never subscribed: 0x00", basis: guessed, why: "0x00 and MQTT's 0x11 are both successes"},
		{id: "B144", mqtt: "5", what: "UNSUBSCRIBE of a filter that is not valid: 0x8F", basis: documented},
		{id: "B145", mqtt: "5", what: "UNSUBSCRIBE that fails for another reason: 0x80", basis: documented},
		{id: "B146", mqtt: "any", what: "SUBSCRIBE to $aws/rules/…: not possible", basis: documented},
	}
}

// retainedRows are §1.7.
func retainedRows() []row {
	return []row{
		{id: "B147", mqtt: "any", what: "RETAIN with a payload: kept as the topic's only retained message, delivered with RETAIN 0", basis: documented},
		{id: "B148", mqtt: "any", what: "RETAIN without a payload: the retained message is forgotten, the empty one delivered", basis: documented},
		{id: "B149", mqtt: "any", what: "a PUBLISH without RETAIN: the retained message stays", basis: documented},
		{id: "B150", mqtt: "any", what: "SUBSCRIBE to exactly the topic: the retained message comes with RETAIN 1", basis: documented},
		{id: "B151", mqtt: "any", what: "SUBSCRIBE with a wildcard: it does not come, later messages do", basis: documented},
		{id: "B152", mqtt: "any", what: "a shared subscription: no retained message at subscribe time", basis: documented},
		{id: "B153", mqtt: "any", what: "the order of the retained and of live messages: AWS promises none; the broker sends the retained one first", basis: documented},
		{id: "B154", mqtt: "any", what: "as many retained messages as are allowed: a further one is refused with 0x97, deletes pass", basis: documented, guess: "the code", why: onlyCode},
		{id: "B155", mqtt: "any", what: "more than one retained PUBLISH a second on a topic, or too many in all: throttled", basis: documented},
		{id: "B156", mqtt: "5", what: "a retained message whose expiry has passed: not sent", basis: documented},
		{id: "B157", mqtt: "3.1.1", what: "a retained message of a 3.1.1 device: never expires", basis: documented},
		{id: "B158", mqtt: "any", what: "QoS of a retained message: the lower of its own and the granted one", basis: documented},
		{id: "B159", mqtt: "any", what: "a will with RETAIN: kept when it is published", basis: documented},
		{id: "B160", mqtt: "HTTP", what: "GET /retainedMessage/TOPIC: the message as JSON, 404 when there is none", basis: documented},
		{id: "B161", mqtt: "HTTP", what: "GET /retainedMessage: a page of topics, sizes, QoS and times, with nextToken", basis: documented},
		{id: "B162", mqtt: "any", what: "a subscription that is resumed: the retained message does not come again", basis: guessed, why: "no SUBSCRIBE takes place, which is what sends it"},
		{id: "B163", mqtt: "any", what: "RETAIN closed the connection until August 2021: no longer", basis: documented},
	}
}

// willRows are §1.8.
func willRows() []row {
	return []row{
		{id: "B164", mqtt: "any", what: "DISCONNECT, or a WebSocket Close: the will is discarded", basis: documented},
		{id: "B165", mqtt: "5", what: "DISCONNECT 0x04: the will is published", basis: guessed, why: byMQTT + ", and a device that sends 0x04 asks for it"},
		{id: "B166", mqtt: "any", what: "every other end, such as a lost connection, keep alive, take-over, an error of the device, a stop: the will is published", basis: documented},
		{id: "B167", mqtt: "any", what: "the policy ends a connection: the will is published; a CONNECT that was refused: it is not", basis: documented},
		{id: "B168", mqtt: "5", what: "Message Expiry of a will: counts from its publication", basis: documented},
		{id: "B169", mqtt: "5", what: "Will Delay Interval: does not count", basis: guessed, key: switches + "will_delay"},
		{id: "B170", mqtt: "5", what: "a will's properties: go with its message", basis: documented},
		{id: "B171", mqtt: "any", what: "a will and what the returned device says may come in either order", basis: documented},
		{id: "B172", mqtt: "any", what: "a will on a $ topic or one with a wildcard: CONNECT is refused, with 0x90", basis: documented, guess: "which topics", why: "a PUBLISH to such a topic is refused as well, so that the will could never be published"},
	}
}

package conformance

// sessionRows are §1.3.
func sessionRows() []row {
	return []row{
		{id: "B50", mqtt: "3.1.1", what: "cleanSession 0, no session: a persistent one begins, Session Present 0", basis: documented},
		{id: "B51", mqtt: "3.1.1", what: "cleanSession 0, a session: resumed with its subscriptions and stored messages, Session Present 1", basis: documented},
		{id: "B52", mqtt: "3.1.1", what: "cleanSession 1: the old session is gone, nothing is kept afterwards", basis: documented},
		{id: "B53", mqtt: "5", what: "Clean Start 1: a new session, the old one is gone", basis: documented},
		{id: "B54", mqtt: "5", what: "Clean Start 0, a session: resumed, Session Present 1", basis: documented},
		{id: "B55", mqtt: "5", what: "Clean Start 0, no session: a new one, Session Present 0", basis: documented},
		{id: "B56", mqtt: "5", what: "Clean Start 1 with expiry 0: as cleanSession 1", basis: documented},
		{id: "B57", mqtt: "5", what: "Clean Start 0 with an expiry: as cleanSession 0", basis: documented},
		{id: "B58", mqtt: "any", what: "the other version of MQTT comes back: no session is resumed, the stored one is gone", basis: documented, guess: "that the stored one is gone", why: "kept, it would queue messages for a device that talks in another session by now"},
		{id: "B59", mqtt: "3.1.1", what: "a session lasts an hour (quotas.session_expiry) from the end of its connection, never less", basis: documented},
		{id: "B60", mqtt: "5", what: "DISCONNECT with an expiry when the session has none: DISCONNECT 0x82", basis: documented, guess: "the code", why: byMQTT},
		{id: "B61", mqtt: "5", what: "DISCONNECT with expiry 0: the session ends at once", basis: documented},
		{id: "B62", mqtt: "5", what: "DISCONNECT with another expiry: it counts, up to the longest", basis: documented, guess: "the bound", why: "the bound of the session is an AWS quota, which no packet lifts"},
		{id: "B63", mqtt: "any", what: "QoS 1 to a QoS 1 subscription of an absent device: stored", basis: documented},
		{id: "B64", mqtt: "any", what: "QoS 0, or a QoS 0 subscription: not stored", basis: documented},
		{id: "B65", mqtt: "any", what: "stored messages come at 10 a second at most, beside live ones", basis: documented},
		{id: "B66", mqtt: "any", what: "deliveries without PUBACK when a persistent session is left: sent again when it is resumed", basis: documented},
		{id: "B67", mqtt: "any", what: "a session expires: its messages are gone", basis: documented},
		{id: "B68", mqtt: "any", what: "CONNECT after that: a new session, Session Present 0, no subscriptions", basis: documented},
		{id: "B69", mqtt: "any", what: "a condition on iot:ConnectAttributes excludes PersistentConnect: a persistent CONNECT is refused", basis: documented, guess: "what holds without a condition: AWS's pages disagree", key: "policy.connect_attributes_default"},
		{id: "B70", mqtt: "any", what: "it excludes LastWill: a CONNECT with a will is refused", basis: documented, guess: "what holds without a condition: AWS's pages disagree", key: "policy.connect_attributes_default"},
		{id: "B71", mqtt: "any", what: "DELETE /connections/CLIENT: closed, MQTT 5 with 0x98; the session stays unless cleanSession, the will is published unless preventWillMessage", basis: documented, guess: "the code", why: onlyCode},
	}
}

// shareRows are §1.9.
func shareRows() []row {
	return []row{
		{id: "B173", mqtt: "any", what: "$share/NAME/FILTER: one member of the group, at random, has each message", basis: documented},
		{id: "B174", mqtt: "any", what: "a NAME that is empty, above 128 bytes, or has + or #: SUBACK 0x8F, of 3.1.1 0x80", basis: documented, guess: "the code", key: refusedFilter5 + " " + refusedFilter3},
		{id: "B175", mqtt: "any", what: "QoS 0 to a member that does not take it: dropped", basis: documented},
		{id: "B176", mqtt: "any", what: "QoS 1 to a member with a clean session that does not take it: tried on others, then dropped", basis: documented},
		{id: "B177", mqtt: "any", what: "QoS 1, the member is absent (2023): tried on others, then dropped", basis: documented, guess: "which holds: the pages of 2023 and 2025 disagree", key: "broker.shared_queue"},
		{id: "B178", mqtt: "any", what: "QoS 1, nobody there, one persistent member (2025): queued for the group, 20 a second for each member that comes", basis: documented, guess: "which holds: the pages of 2023 and 2025 disagree", key: "broker.shared_queue"},
		{id: "B179", mqtt: "any", what: "QoS 1, the members are at their limit (2025): queued for the group", basis: documented, guess: "which holds: the pages of 2023 and 2025 disagree", key: "broker.shared_queue"},
		{id: "B180", mqtt: "any", what: "several groups match: one member of each", basis: documented},
		{id: "B181", mqtt: "any", what: "a member with a clean session unsubscribes or leaves: no member any more", basis: documented},
		{id: "B182", mqtt: "any", what: "a persistent member leaves: an absent member until it unsubscribes or expires", basis: documented},
		{id: "B183", mqtt: "any", what: "a member or a group too many, or too fast: SUBACK 0x97, of 3.1.1 0x80", basis: documented, guess: "the code", why: onlyCode},
		{id: "B184", mqtt: "5", what: "a shared subscription with No Local: granted, No Local does not count", basis: guessed, why: "No Local does not count anywhere (B120), so that there is nothing to refuse"},
	}
}

// eventRows are §1.10.
func eventRows() []row {
	return []row{
		{id: "B185", mqtt: "5", what: "the broker closes: DISCONNECT with a code first", basis: documented},
		{id: "B186", mqtt: "3.1.1", what: "the broker closes: the socket is closed, no packet", basis: documented},
		{id: "B187", mqtt: "5", what: "the broker stops: DISCONNECT 0x8B", basis: documented},
		{id: "B188", mqtt: "5", what: "an administrator ends a connection: DISCONNECT 0x98", basis: documented},
		{id: "B189", mqtt: "5", what: "a quota is exceeded: DISCONNECT 0x97", basis: documented, guess: "which quotas", why: onlyCode},
		{id: "B190", mqtt: "5", what: "the policy no longer allows the connection: DISCONNECT 0x87", basis: documented, guess: "the mapping", why: onlyCode},
		{id: "B191", mqtt: "5", what: "a filter or topic that is not valid ends the connection: DISCONNECT 0x8F or 0x90", basis: documented},
		{id: "B192", mqtt: "any", what: "connected: $aws/events/presence/connected/CLIENT", basis: documented},
		{id: "B193", mqtt: "any", what: "disconnected: $aws/events/presence/disconnected/CLIENT with the reason", basis: documented},
		{id: "B194", mqtt: "any", what: "the policy refuses a CONNECT: $aws/events/presence/connect_failed/CLIENT", basis: documented},
		{id: "B195", mqtt: "any", what: "subscribed, unsubscribed: $aws/events/subscriptions/…/CLIENT with the topics", basis: documented},
		{id: "B196", mqtt: "any", what: "versionNumber: grows with each connection of a client id, and begins anew after an hour away, or after a restart of the gateway", basis: documented},
		{id: "B197", mqtt: "any", what: "events cannot be switched off by a device, which can only subscribe to them", basis: documented},
	}
}

// httpRows are §1.11.
func httpRows() []row {
	return []row{
		{id: "B198", mqtt: "HTTP", what: "POST /topics/TOPIC?qos=: published", basis: documented, guess: "the body of the answer", key: "listeners[].http.answer"},
		{id: "B199", mqtt: "HTTP", what: "retain=true: as RETAIN of MQTT", basis: documented},
		{id: "B200", mqtt: "HTTP", what: "query and headers become MQTT 5 properties", basis: documented},
		{id: "B201", mqtt: "HTTP", what: "errors: 400, 401, 405, 413, 429, 500", basis: documented, guess: "401: AWS has been seen to answer 403", key: "listeners[].http.denied"},
		{id: "B202", mqtt: "HTTP", what: "there is no subscribing over HTTP", basis: documented},
		{id: "B203", mqtt: "HTTP", what: "POST /connections/CLIENT/messages: to one connected device, subscribed or not; 404 when it is absent, 504 without its PUBACK", basis: documented},
	}
}

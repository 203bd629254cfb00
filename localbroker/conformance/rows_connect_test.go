package conformance

const (
	switches        = "listeners[].switches."
	refusedConnect3 = switches + "refused_connect_mqtt3"
)

// connectRows are §1.2.
func connectRows() []row {
	return []row{
		{id: "B14", mqtt: "3.1.1", what: "CONNECT of level 4: CONNACK 0 with Session Present", basis: documented},
		{id: "B15", mqtt: "5", what: "CONNECT of level 5: CONNACK 0x00 announces Receive Maximum 100, Maximum QoS 1, retain, wildcards and shared subscriptions, no Subscription Identifiers, packets of 149504 bytes, 8 topic aliases, the effective keep alive; Session Expiry only when one was asked and changed", basis: observed},
		{id: "B16", mqtt: "any", what: "CONNECT of level 3 (MQTT 3.1): CONNACK 1, closed", basis: guessed, why: "the broker has no MQTT 3.1 that a switch could offer, and AWS lists none"},
		{id: "B17", mqtt: "any", what: "a packet that comes along with CONNECT, before CONNACK: closed, MQTT 5 with 0x82", basis: documented, guess: "that the connection ends", key: switches + "early_packets"},
		{id: "B18", mqtt: "any", what: "a second CONNECT: closed, MQTT 5 with 0x82, the will is published", basis: documented, guess: "the code", why: onlyCode},
		{id: "B19", mqtt: "any", what: "a client id that is connected: the new connection is taken, the old one is closed, MQTT 5 with 0x8E, and its will is published", basis: documented},
		{id: "B20", mqtt: "any", what: "a client id above 128 bytes: CONNACK 0x85, of 3.1.1 2", basis: documented, guess: "what 3.1.1 sees", key: refusedConnect3},
		{id: "B21", mqtt: "5", what: "an empty client id: a unique one is assigned and returned", basis: documented},
		{id: "B22", mqtt: "3.1.1", what: "an empty client id: CONNACK 2 for a persistent session; for a clean one the policy is asked about a generated id", basis: guessed, key: refusedConnect3},
		{id: "B23", mqtt: "any", what: "a client id that begins with $: connects, though AWS's APIs cannot name it", basis: documented, guess: "CONNECT, the APIs are documented", key: switches + "dollar_client_id"},
		{id: "B24", mqtt: "any", what: "a client id with + or #: connects, without lifecycle events", basis: documented},
		{id: "B25", mqtt: "any", what: "the policy denies iot:Connect: CONNACK 0x87, of 3.1.1 5", basis: documented, guess: "what 3.1.1 sees", key: refusedConnect3},
		{id: "B26", mqtt: "any", what: "a wrong user name or password: CONNACK 0x86, of 3.1.1 4", basis: documented, guess: "what 3.1.1 sees", key: refusedConnect3},
		{id: "B27", mqtt: "any", what: "the policy denies the will's topic: refused with 0x87, of 3.1.1 5", basis: documented, guess: "the code", key: refusedConnect3 + " policy.will_check"},
		{id: "B28", mqtt: "5", what: "a will topic that is reserved, has a wildcard, more than 256 bytes or 7 slashes: CONNACK 0x90", basis: documented, guess: "which topics", why: "a PUBLISH to such a topic is refused as well, so that the will could never be published"},
		{id: "B29", mqtt: "5", what: "a will of QoS 2: CONNACK 0x9B", basis: documented},
		{id: "B30", mqtt: "3.1.1", what: "a will of QoS 2: closed without CONNACK", basis: observed},
		{id: "B31", mqtt: "5", what: "too many connections, or CONNECTs too fast: CONNACK 0x97, closed", basis: documented, guess: "which limits", why: "these are the two limits that a CONNECT can exceed; each is a key"},
		{id: "B32", mqtt: "3.1.1", what: "the same: closed without CONNACK", basis: observed},
		{id: "B33", mqtt: "5", what: "a refusal that no other code names: CONNACK 0x80", basis: documented},
		{id: "B34", mqtt: "any", what: "keep alive 0 or above 1200 s: 1200 s", basis: documented},
		{id: "B35", mqtt: "any", what: "keep alive of 1 to 29 s: 30 s", basis: documented},
		{id: "B36", mqtt: "any", what: "keep alive of 30 to 1200 s: as asked, which MQTT 5 is told", basis: documented},
		{id: "B37", mqtt: "any", what: "no packet for one and a half times the keep alive: closed, MQTT 5 with 0x8D, the will is published", basis: documented},
		{id: "B38", mqtt: "any", what: "PINGREQ: PINGRESP", basis: documented},
		{id: "B39", mqtt: "5", what: "Receive Maximum n: at most min(n, 100) deliveries without PUBACK", basis: documented, guess: "the minimum", why: byMQTT + " of the device's number, and AWS of its own"},
		{id: "B40", mqtt: "5", what: "Maximum Packet Size below 512: refused with 0x80", basis: documented},
		{id: "B41", mqtt: "5", what: "Maximum Packet Size from 512: what is larger is not sent to this device, and dropped", basis: documented, guess: "the drop", why: byMQTT},
		{id: "B42", mqtt: "5", what: "Topic Alias Maximum: the broker may use aliases towards the device, and uses none", basis: documented, guess: "that none are used", why: "MQTT lets a server never use one"},
		{id: "B43", mqtt: "5", what: "Session Expiry above the longest (an hour; up to 7 days by quotas.session_expiry): shortened, and CONNACK says so", basis: documented},
		{id: "B44", mqtt: "5", what: "no Session Expiry: the session ends with the connection", basis: documented},
		{id: "B45", mqtt: "5", what: "Request Problem Information 0: no Reason String, not even where MQTT would allow one", basis: documented},
		{id: "B46", mqtt: "5", what: "Request Response Information: CONNACK has none", basis: observed},
		{id: "B47", mqtt: "5", what: "an Authentication Method: CONNACK 0x8C; AUTH: DISCONNECT 0x82", basis: documented, guess: "the codes", why: onlyCode + "; 0x8C is not in AWS's list, but MQTT's own for this"},
		{id: "B48", mqtt: "5", what: "User Properties of CONNECT and of the will: accepted up to 8 KB", basis: documented},
		{id: "B49", mqtt: "5", what: "Server Reference, 0x9C and 0x9D: never sent", basis: documented},
	}
}

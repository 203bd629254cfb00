// Package localbroker is the LAN side of the gateway: MQTT 3.1.1 and 5 over
// TCP, TLS and WebSocket, on the packets of mochi-mqtt.
//
// A connection is one goroutine (serve.go), which reads a packet (inbound.go),
// answers it, and waits for the next with as little memory as it can.
//
//   - Socket: a [Broker]'s connections are wires (wire.go). A write never
//     blocks, so one stalled device stops nobody else; whoever does not read
//     is closed with a reason.
//   - Identity: connect.go asks [Identities] and the policy who a connection
//     is and whether it, its will included, may come in.
//   - Intake: every PUBLISH becomes a receipt in the connection's queue
//     (intake.go). The walk ([Ingester]) settles receipts in any order; they
//     are answered in the order of the PUBLISHes, by one table (verdict.go).
//     What cannot be stored now is held: the socket is not read until it can.
//   - Delivery: who receives a message is decided before its commit, so that
//     what is kept of it is in that commit (parcel.go, fanout.go); after the
//     answer it is carried to the sessions. What memory has of a session's queue
//     is its outbox (outbox.go, pump.go), the far part of it written down so that
//     it costs the garbage collector nothing (stash.go), and shared out fairly
//     (share.go). A session outlives its connections
//     (session.go, registry.go), and an unacknowledged delivery has its time
//     (retry.go).
//   - Durable state: kept sessions, their queues, the queues of share groups
//     (group.go, draw.go), retained messages and wills (testament.go) are on the
//     [Shelf]. A queue is a backlog (backlog.go) of entries (entry.go), read
//     ahead of the device (readahead.go), and looked through for what has expired
//     (expire.go); store.go numbers and forgets them, and
//     a start lists their keys (restore.go). ADR 8 says why.
//   - Services: requests to AWS's shadows, jobs and provisioning are noted
//     before the walk (passthrough.go, openrequests.go), so that [Broker.Answer]
//     finds who asked; what cannot be reached is answered here (rejection.go).
//   - Families: a service that has topics for itself, such as file transfer, takes
//     what is published there instead of the walk, and answers (family.go).
//   - $SYS: what the broker does, in Mosquitto's topics (sys.go), from counters at
//     the sockets (traffic.go).
//   - Events: who comes, goes and subscribes is told to subscribers
//     (lifecycle.go), by one goroutine that no connection waits for
//     (announcer.go).
//   - Policy: grants are asked at CONNECT, PUBLISH, SUBSCRIBE, before each
//     delivery and when a will fires. When they change, [Broker.Enforce] asks
//     again about everything that sessions hold and ends what is no longer
//     allowed (enforce.go); what is in between is asked again too, by a
//     generation that counts the changes; changes of users and listeners end
//     sessions in the same way (authority.go).
//   - HTTP: a listener of type https is AWS IoT Core's data plane. Package rest
//     reads the requests, http*.go carries them out: a publish takes the walk, a
//     direct message (direct.go) goes to one session.
//   - Downlink: [Local] is the same delivery as a bridge.Sender. Its outcome is
//     the commit into the queues of kept sessions, and the PUBACKs of devices
//     without one.
//
// Three profiles say which broker a device meets (profile.go): "aws" answers as
// AWS IoT Core does, down to its silences; "aws-edge" has the same limits and
// semantics, but answers where AWS is silent, so that a person on site sees
// why; "mqtt" is plain MQTT. A profile is the defaults of the quotas
// (quotaoptions.go) and a few differences in kind. Quotas of pace are buckets of
// the session (pacer.go), of the account and of names (pace.go, keyed.go), and
// of the socket (throttle.go): they bite in "aws" and only warn in "aws-edge", and
// none is about what families take as large packets or answer.
// The AWS profiles announce Maximum QoS 1 and refuse QoS 2; "mqtt" has it in both
// directions (reception.go, handshake.go). Ids such as B88 and Q11 are statements
// of the project's AWS IoT Core specification, names such as [MQTT-4.6.0-2] those
// of OASIS.
package localbroker

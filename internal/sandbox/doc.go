// Package sandbox is a cloud to try things on: Ebbgate's own broker with the
// limits of AWS IoT Core, behind a link that can be broken.
//
//   - [Gate] is the link: a TCP proxy that can reset, black-hole, slow and
//     refuse, and says nothing to either side about it.
//   - [Arrivals] is what arrived: sets of message ids, their order by first
//     arrival, duplicates and units; bits, not copies.
//   - [Streams] delivers files, by its own reading of AWS's protocol.
//   - [Cloud] is all of them around a localbroker in profile "aws".
//
// It stands in for the cloud in the demo and in tests, and with policies and
// certificates for AWS where devices are tested (ebbgate sandbox). A gateway uses
// it only where its configuration says sandbox. It shares code with the gateway, so no claim of
// "nothing lost" rests on it alone: mosquitto checks each one too.
package sandbox

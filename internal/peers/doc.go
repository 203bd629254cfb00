// Package peers starts the real parts that tests and benchmarks talk to: a
// mosquitto and an S3 server that nobody here wrote, a certificate authority of
// the test's own, and a TCP proxy that cuts, black-holes and delays.
//
// Everything takes a [testing.TB] and ends with it. A part that the machine
// does not have skips the test by name; with EBBGATE_REQUIRE_PEERS=1 it fails
// instead, so that a pipeline cannot pass by skipping.
package peers

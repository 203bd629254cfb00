// Package scenario holds tests of the whole gateway, as its manual promises it:
// the real binary as a child process, devices of a public client library,
// Debian's mosquitto as the cloud, bad links, full and damaged disks, power
// cuts.
//
// Each scenario is one file: outage (cuts and kills), mistakes (bad input),
// fulldisk, damage, powercut. The others are the harness. A number of the tests
// need root, mosquitto or loop devices; without them they skip by name, and
// with EBBGATE_REQUIRE_PEERS=1 they fail instead. EBBGATE_SOAK=1 runs them at
// full length. Random choices come from a seed that is printed; EBBGATE_SEED
// repeats it.
package scenario

// Command bench measures the gateway beside Debian's mosquitto, on one machine
// and in one run, and prints one table: what was measured, the ratio, what the
// design asks for, and whether that was met. "make bench" runs it, "make bench-files"
// the parts that send files, which write some 200 GB and take longer than the others.
//
// The gateway and mosquitto are child processes on free loopback ports; this
// process is the load. So that the load is not what is measured, a publisher
// is one goroutine that answers k acknowledgements with k frames of a ring that
// was encoded once (publisher.go); its ceiling is measured too, against a
// server that does nothing but acknowledge (sink.go). Every message carries its
// publisher and number, and what arrives is checked against them: a run that
// loses or reorders a message is an error, not a figure. Where a mosquitto as the cloud
// would be the limit, receiver.go is one of several threads.
//
// Each figure is the median of its runs, which are interleaved: gateway,
// mosquitto, gateway, and so on, so that both meet the same neighbours. How long
// one sync takes is measured between the runs by a child of its own
// (syncprobe.go), under the same strace as the gateway where syncs are slowed.
// Bytes written are counted at a loop device that nothing else writes to
// (volume.go), which needs root.
//
// What a policy costs the broker (policybroker.go) is compared with the same
// broker and an authorizer that allows everything: both run at once and are
// loaded by turns, several a second, because the difference is smaller than
// what a machine varies by.
package main

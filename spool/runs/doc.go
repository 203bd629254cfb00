// Package runs keeps an ordered map of byte strings on disk, for the spool's
// shelf: millions of small keys, most of which never get here because they are
// gone again within seconds.
//
// It is written in whole runs. A run is one immutable file: entries in the
// order of their keys, an index of its blocks, a filter of its keys. Who has a
// log collects changes in memory, writes them as a run once in a while, and
// keeps the log until then; the run holds the log's position, so that content
// and position become durable in one rename. Nothing is ever changed in place,
// and no file is mapped into memory: a full disk is an error of one write and
// no signal that ends the process, and what is half written is thrown away.
//
// Reading asks the newest run first. Runs of about one size are merged into one
// (so an entry that stays for a week is rewritten a handful of times), and all
// of them when what is deleted or overwritten outweighs what is live: that gives
// the space back.
//
// Each block and each large value has a checksum. What cannot be read is
// reported and passed over; the rest of the run stays.
package runs

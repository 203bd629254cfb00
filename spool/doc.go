// Package spool keeps records on disk from their acknowledgement to the device
// until the receiver's acknowledgement to us. It is the only importer of
// Badger, and implements [bridge.Spool].
//
// # A log and a state
//
// The log is a sequence of generations, a Badger directory each. It is only
// appended to: one commit is one value, holding all of its records; nothing in
// it is ever deleted or rewritten. A generation whose records are all released
// goes as a directory, which is the only way in which Badger gives space back
// at once. The state is one small Badger beside it: the head and the gaps of
// each queue, counters, and what other parts of the gateway keep.
//
// One goroutine, the committer, writes the log: it takes what waits, encodes it
// as one value, writes it, syncs it once, and only then publishes it to the
// cursors and completes it, in order. A second, the state keeper, writes the
// state in the same way. A batch that appends carries its other changes in its
// log value, and the state takes them over afterwards; the state remembers up
// to where, and opening applies the rest. So an append costs one sync, a release
// with its metering another, and neither waits for the other.
//
// # The shelf
//
// What the local broker keeps for its devices (sessions, their queues, retained
// messages, wills: the namespaces of [bridge.OnShelf]) is millions of keys, most
// of which are gone within milliseconds. The log is their write-ahead log: a
// commit's puts are in memory, and seen, as soon as it is synced. What is
// forgotten before it is written leaves nothing behind. The rest is written once
// it is much or old, as one sorted run in the folder shelf (package runs), by a
// goroutine of its own, the shelver; another, the merger, merges runs. A run
// holds the log's position up to which the shelf has everything, so opening
// replays the rest into memory. A generation of the log goes, or is condensed,
// when the state and the shelf are past it; one that waits for the shelf has it
// written.
//
// Forgotten keys are gone at once. The log is told with the next commit that
// there is anyway, or a second later, as deletions behind all that the commit
// puts: forgetting concerns what was given to the spool before, committed or
// not, and nothing that comes later. Batches and forgets are numbered for that.
//
// # What is synced, and how
//
// Badger's own SyncWrites makes two syncs a commit and only logs an error of
// the first (value.go, "Error while curlf sync"), so the log opens Badger
// without it and syncs the value log files itself, once a commit, believing no
// commit that the kernel did not confirm. The LSM tree of a generation is only
// its index: it is written through when the generation is closed, and after a
// crash the commits that it misses are found by scanning the value log.
//
// # Places
//
// Each queue numbers its records consecutively ([bridge.Place]). What is
// released is then a head and a few ranges, a depth is a subtraction, and a
// missing range shows, whatever was damaged.
//
// # The end of the log
//
// A missing range shows by what comes after it, but nothing comes after the last
// commit. The file TAIL says where the log ends: it is mapped, so that marking a
// commit is a copy in memory, and it is written between the sync and the
// acknowledgement. So it never names what was not synced, and after a kill it
// names all that was acknowledged. The file SERIAL is the same for the state: it
// counts its commits, for damage can set it back to an earlier one that looks whole.
//
// FORMAT.md describes the bytes.
package spool

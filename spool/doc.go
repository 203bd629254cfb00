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
// # Order
//
// Batches come from many goroutines: connections of devices, of clouds, the parts
// of the gateway. What holds across them, whatever each of them does:
//
//   - What appends, or puts something on the shelf, is numbered as Commit takes it
//     (intake.go), and written in that order: the order of sequences is the order
//     of those calls. A connection that calls Commit for one message after another
//     so has its own order; between two connections it is who called first. Only a
//     move ([bridge.Batch.IfLive]) has its number when its places are claimed,
//     later than its call.
//   - The places of each queue are in the order of sequences. So records that two
//     queues have in common are in the same order in both.
//   - A commit is synced (Durability disk), then marked in TAIL, then seen by
//     cursors and on the shelf, then answered: nobody reads or is told of what a
//     kill could still take back. A cloud can have a message before its device has
//     the acknowledgement.
//   - What has a number is answered in the order of numbers, taken or refused, from
//     one goroutine; what is refused for want of room in the intake has none, and is
//     answered at once, and so is everything with Durability memory. What comes
//     behind a batch that was refused may be taken: who must not be overtaken waits
//     for the answer.
//   - What carries neither goes to the state, in the order of the calls, and is not
//     ordered against what goes through the log: a release can be durable before
//     an append that was given earlier. The other changes of a batch that appends
//     reach the state in the order of commits, none passing another: m/applied is
//     one number, and a start applies what is behind it.
//   - A forgotten key stays forgotten against all that was given before, and comes
//     back with the next put of it.
//   - A cursor returns its queue in the order of places, leaving out what is
//     released. Cursors know nothing of each other: that each device's messages
//     stay in order over several connections to a cloud is the work of who reads
//     (package bridge, pool.go). Releases may come in any order.
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
// # What a start does, and why in this order
//
//  1. The lock, room on the disk, the spool's id: without the id no commit in a
//     damaged file can be told from a device's payload.
//  2. The state (open.go), and whether it is as far as SERIAL says: only it knows
//     what is released, so it comes before anything is called missing. Before Badger
//     opens it, and deletes what its list of tables does not name, that list is looked
//     at (tables.go). One that cannot be opened is kept aside, and an empty one is made.
//  3. The shelf (shelve.go), and how far it has what the log carries: what the
//     log is replayed for begins there.
//  4. The queues' releases and the closed generations, from the state; exchanges of
//     folders that were interrupted are ended before the folders are listed.
//  5. TAIL (tailcheck.go), before any generation is read: it says of a commit that
//     is cut short whether somebody was told that it is ours.
//  6. The generations, oldest first (recover.go): a gap shows against what came
//     before. One that is not closed is scanned, made readable, put on the shelf as
//     far as it is not there, and closed; its changes for the state are collected.
//  7. What TAIL names and no generation has is reported (matchTail): it can only be
//     said after the last of them.
//  8. What is given up, and up to where that has been told, is written to the state,
//     and only then are the copies removed that the recovery made: a kill before
//     that repeats it, one after it reports nothing twice.
//  9. The collected changes behind m/applied are applied, in the order of commits.
//     A kill before that finds them again: what the state has of a generation names
//     the last commit that carries some.
//  10. A mark that was lost is made anew, last: from then on it vouches for all
//     that was found.
//
// Then the goroutines begin, the ballast is filled, and what is released is
// removed. Nothing of the log is written by a start but what makes a crashed
// generation whole: a new generation begins with the first commit.
//
// FORMAT.md describes the bytes.
package spool

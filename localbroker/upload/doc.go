// Package upload takes files from devices by EMQX's file transfer: init,
// segments and fin on $file/… or $file-async/…, responses on $file-response/….
//
// A transfer is named by its client id and file id, not by a connection. It is
// open (it has metadata, segments or both), then being assembled, then verified
// and queued for export, then exported: only its size, checksum and place are
// remembered, so that a fin that is repeated is answered and an id that is used
// for another file is refused.
//
//   - Segments are not in the log of the messages: what the disk gives for large
//     values there is a fraction of what it gives for files that are synced
//     in groups, and a message's commit would wait behind megabytes. Each
//     transfer has one file, to which segments are appended as they come; where
//     each stands is on the shelf of the spool. A segment is acknowledged when
//     its file is synced and, after that, its entry is (syncer.go): the promise
//     of a message's PUBACK. What a crash leaves behind the last entry is cut off
//     at the next start (restore.go), which has every state as it was.
//   - Whole blocks of 4 KiB are written past the kernel's cache (segments.go): that
//     takes a third of the time, no memory, and nothing of a file is left for a sync
//     that a message waits for. Other sizes, and file systems that cannot, go through
//     the cache.
//   - Memory holds no segment longer than it takes to write and to hash it, 16 MiB
//     of all for either (load.go); who has more is not read meanwhile. Of a file it
//     holds where its segments are: some 100 bytes each, bounded in all.
//   - fin looks for a path of exact boundaries (coverage.go), reads what was not
//     hashed as it came (prefix.go), and puts the verdict on the shelf. That is what its answer
//     means with export mode spooled; with direct the file has been exported.
//   - Export (export.go) hands the file to a [bridge.FileTarget], in the order of
//     the fins, again and again until it is taken; while it takes what comes, small ones
//     of other clients go beside the first (exportqueue.go), and one that fails is told
//     from a target that is away (probe.go). A target on the same disk takes
//     a file whose segments came in order, as nearly all do, by renaming it: it is
//     written once. Others read it, in order. With mode direct each fin exports its
//     own file, a few at a time (berths.go).
//   - Bounds: transfers, segments and bytes, of a client and of all, and the
//     disk's headroom, are looked at before a segment is written; a device is
//     told at once (0x97), and nobody else notices. Age is by the spool's clock
//     (sweep.go).
//   - Clients take turns (turns.go): what one asks for is in the next group, however
//     much waits of another. Commands that bring no bytes have an allowance for each
//     client (allowance.go); who sends more is not read meanwhile.
//
// What devices say is in topic.go, meta.go and name.go, and hostile until it has
// been through them; words and codes of refusals are in fault.go. Statements such
// as F34 are those of the project's specification of file protocols.
package upload

// Package filetransfer sends whole files to an EMQX cluster, or to another Ebbgate,
// by EMQX's file transfer: init, segments and fin as messages over a connection of
// its own, which the gateway gives it.
//
// [Target] is the [bridge.FileTarget]. The other side names a transfer by the
// client id of the connection and a file id, so the ids of devices cannot go as
// they are: [name.go] makes one file id of the device's client id, its file id and
// the content. Two devices with equal ids never meet, and a file that is sent again
// is the same transfer, whose fin is answered from what is known of it. Who sent
// the file stands in its user_data.
//
//   - A command counts as done when its response says so, and not by its PUBACK:
//     that is all that 3.1.1 has, and a broker without file transfer acknowledges
//     everything. A refusal in a PUBACK counts at once, with the response's word when
//     there is one.
//   - Up to four segments are in flight, each with its checksum, as large as the
//     other side and the line take well (pieces.go). Up to where all are taken is kept
//     on the shelf, once a mebibyte or so: a cut or a crash costs a little that
//     goes twice, and that the other side puts where it was. fin carries the
//     checksum of the whole, so the other side compares.
//   - A side that has forgotten, since its segments have an age or its disk was
//     replaced, says "incomplete"; then it is all sent anew.
//   - What is refused for what the file is, is an error of the file; what may pass
//     (no room, no permission, no connection) is one of the target, and tried again.
package filetransfer

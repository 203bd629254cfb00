// Package s3 is a bucket of Amazon S3, or of a store that speaks its protocol,
// where files of devices go: a [bridge.FileTarget].
//
//   - A file of one part goes with one PUT, a larger one in parts (multipart.go).
//     What has been begun is on the shelf (record.go): the upload's id before its
//     first part is sent, each part when the store has it, with the state of the
//     file's hash behind it. So an upload goes on after a cut or a crash, with the
//     parts that are missing, as the store's own list of parts tells; an id that the
//     store does not know any more is begun anew.
//   - Of the content nothing is held: a part is read twice, for its hash and to be
//     sent. The hash is signed and checked by the store (x-amz-content-sha256, and
//     x-amz-checksum-sha256, which it keeps), and the last part is not sent before
//     the hash of the whole file is the one that was verified when the device had
//     sent it (F52). The object's metadata has that one.
//   - No object is replaced by another file (taken.go): nobody else has its content.
//   - Nothing is left that is paid for and of no use: an upload is aborted when its
//     file is given up, or turns out to be damaged. Only uploads that this gateway
//     has begun are aborted (abandon.go).
//   - The caller tries again what fails; which of the errors are the file's, and
//     which the bucket's, is in refused.go, with what a person can do.
//
// Keys and metadata are EMQX's (object.go, F51). No type of the SDK leaves the
// package.
package s3

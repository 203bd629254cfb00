// Package lint reads AWS IoT policy documents as a careful colleague would:
// it finds what AWS accepts and nobody meant.
//
// Three passes follow each other:
//
//   - Reading. A document, or the answer of "aws iot get-policy" around one,
//     becomes a tree in which every element knows its offset (json.go,
//     envelope.go). The grammar of AWS is checked as strictly as package
//     policy does (parse.go); a document that AWS would refuse gets L00 and is
//     judged no further, because its statements may not be what they seem.
//   - Judging. Each rule L01 to L34 (rules.go) looks at a set: the documents
//     that one principal has together, when the registry is known, else one
//     document alone. Patterns are compared as languages (pattern.go): whether
//     one resource covers or overlaps another is decided on the text, with
//     variables as opaque symbols, and every example in a message is a request
//     that was tried against the statements of the set (set.go).
//   - Reporting. What a person has looked at and accepted is taken away by
//     suppressions, each with a reason (suppress.go); the rest is printed as
//     text, as JSON lines or as SARIF.
//
// A rule has one severity. A finding is a remark (low) instead where the text
// alone cannot tell a mistake from a habit, such as a document without
// iot:Connect whose neighbours are not known; the comment at the rule says so.
//
// Nothing here decides about packets: that is package policy, and the two
// share no code, so that neither hides a mistake of the other.
package lint

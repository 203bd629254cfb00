// Package conformance is the proof that the local broker in profile aws does
// what AWS IoT Core does: a test for each statement of the project's AWS IoT
// Core specification (§1.2-§1.11, ids B14-B203) and of its index of reason
// codes (§1.13), named by the statement's id.
//
// The tests run the broker with the real walk, spool and policy engine behind
// it, and speak to it over sockets, packet by packet, in both versions of MQTT.
// What takes minutes or hours runs on a clock that the test moves.
//
// The tests of file transfer run in profile aws-edge, unless they say otherwise.
// TestFileCases runs cases of files (cases_test.go), those of testdata/files or the
// file that EBBGATE_FILE_CASES names: each protocol has a bed that carries out its
// steps. What a case may hold is in casesform_test.go; a case that holds anything
// else fails.
//
// The tables of rows (rows_*_test.go) say of each statement what it rests on,
// what the broker makes of it, and which switch there is where nobody knows.
// docs/reference/aws-conformance.md is made from them; TestRows fails when a
// statement has no row, a row no test, or the page is not what the rows say.
package conformance

// Package filesend sends a file by EMQX's file transfer, as a device does: init,
// segments and fin over a connection of MQTT 5 or 3.1.1, to a gateway or to EMQX.
//
// Answers come in two ways (commands.go): reason codes of PUBACKs, which MQTT 3.1.1
// has not, and response messages, which say it in words. A command is done when the
// way that counts has answered. Sending (send.go) keeps a bounded number of segments
// on their way, few at first and after a loss; it goes on over connections that end,
// and a later run goes on from what was acknowledged, which is noted beside the
// file (state.go).
package filesend

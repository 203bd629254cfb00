package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// otherFiles is what a gateway opens beside its devices' sockets: the spool, the
// clouds, logs, certificates while they are read.
const otherFiles = 256

// warnDescriptors tells when the system lets the process open fewer files than
// the configuration lets devices connect: the accept would fail before the
// bounds are met, which refuse with a reason.
func (g *gateway) warnDescriptors() {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	if w, short := descriptors(limit.Cur, g.cfg.Broker.Broker.Sockets); short {
		g.health.Raise(w)
		g.log.Warn(w.Text)
	}
}

func descriptors(limit uint64, sockets int) (bridge.Warning, bool) {
	need := uint64(max(sockets, 0)) + otherFiles
	return bridge.Warning{Code: "file-descriptors", Severity: bridge.Notice, Text: fmt.Sprintf(
		"this process may open %d files, and broker.sockets allows %d sockets: raise the limit to %d (LimitNOFILE of systemd, ulimit -n), or lower broker.sockets", limit, sockets, need)}, limit < need
}

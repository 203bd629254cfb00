package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// otherFiles is what a gateway opens beside its devices' sockets and their files: the
// spool, the clouds, logs, certificates while they are read.
const otherFiles = 256

// warnDescriptors tells when the system lets the process open fewer files than
// the configuration lets devices connect and send files: the accept would fail before
// the bounds are met, which refuse with a reason.
func (g *gateway) warnDescriptors() {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	if w, short := descriptors(limit.Cur, g.cfg.Broker.Broker.Sockets, g.cfg.FileTransfer.Upload()); short {
		g.health.Raise(w)
		g.log.Warn(w.Text)
	}
}

func descriptors(limit uint64, sockets int, files upload.Options) (bridge.Warning, bool) {
	ofFiles := uint64(max(files.Descriptors(), 0))
	need := uint64(max(sockets, 0)) + ofFiles + otherFiles
	allow, lower := fmt.Sprintf("broker.sockets allows %d sockets", sockets), "broker.sockets"
	if ofFiles > 0 {
		allow += fmt.Sprintf(", and file_transfer.transfers %d transfers, which may need %d", files.Transfers, ofFiles)
		lower += " or file_transfer.transfers"
	}
	return bridge.Warning{Code: "file-descriptors", Severity: bridge.Notice, Text: fmt.Sprintf(
		"this process may open %d files; %s: raise the limit to %d (LimitNOFILE of systemd, ulimit -n), or lower %s", limit, allow, need, lower)}, limit < need
}

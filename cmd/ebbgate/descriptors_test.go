package main

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// What cannot be opened is told at the start, with what would be enough, files of
// devices counted when there may be any.
func TestDescriptors(t *testing.T) {
	with := upload.DefaultOptions()
	with.Enabled, with.Transfers = true, 1000
	for _, c := range []struct {
		name    string
		limit   uint64
		sockets int
		files   upload.Options
		want    string // of the warning; empty: none
	}{
		{"sockets", 1024, 20_000, upload.DefaultOptions(), "broker.sockets allows 20000 sockets: raise the limit to 20256 (LimitNOFILE of systemd, ulimit -n), or lower broker.sockets"},
		{"enough for sockets", 20_256, 20_000, upload.DefaultOptions(), ""},
		{"files too", 20_256, 20_000, with, "and file_transfer.transfers 1000 transfers, which may need 2016: raise the limit to 22272"},
		{"files of few sockets", 1024, 100, with, "or lower broker.sockets or file_transfer.transfers"},
		{"enough for both", 22_272, 20_000, with, ""},
		{"as shipped", 65_536, 20_000, with, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if w, short := descriptors(c.limit, c.sockets, c.files); short != (c.want != "") || !strings.Contains(w.Text, c.want) {
				t.Errorf("%v: %s", short, w.Text)
			}
		})
	}
}

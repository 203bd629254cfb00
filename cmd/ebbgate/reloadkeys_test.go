package main

import (
	"testing"

	"github.com/ebbgate/ebbgate/configs"
)

// TestRestartNames: who changes what only a restart puts into force hears which keys.
func TestRestartNames(t *testing.T) {
	for want, change := range map[string]func(*configs.Config){
		"": func(c *configs.Config) {
			c.Upstreams = map[string]configs.Upstream{}
			e := &c.FileTransfer.Export
			e.Bandwidth, e.Metered.Windows, e.Metered.Budget, e.Metered.Per = 1<<20, []string{"daily 01:00-05:00"}, 1<<30, "day"
		},
		"file_transfer.export.to": func(c *configs.Config) {
			c.FileTransfer.Export.Bandwidth, c.FileTransfer.Export.To = 1<<20, configs.ExportS3
		},
		"file_transfer.max_file, file_transfer.max_size, file_transfer.max_client_size, file_transfer.transfers, file_transfer.client_transfers, and 1 more below file_transfer": func(c *configs.Config) {
			f := &c.FileTransfer
			f.MaxFile, f.MaxSize, f.MaxClientSize, f.Transfers, f.ClientTransfers, f.Waiting = 1, 1, 1, 1, 1, 1
		},
		"log.level": func(c *configs.Config) { c.Log.Level = "debug" },
	} {
		is := configs.Default()
		change(is)
		if got := needsRestart(configs.Default(), is); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

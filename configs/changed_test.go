package configs

import (
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestChanged: keys are named as they stand in a file, squashed ones too, and no values.
func TestChanged(t *testing.T) {
	was, is := Default().FileTransfer, Default().FileTransfer
	if got := Changed("file_transfer", was, is); len(got) != 0 {
		t.Errorf("of the same: %q", got)
	}
	is.MaxFile, is.Export.Upload.Mode, is.Export.Bandwidth, is.Export.S3.SecretAccessKey, is.Export.Metered.Windows = 1<<20, "direct", 1<<20, bridge.Secret("hush"), []string{"daily 01:00-05:00"}
	want := []string{"file_transfer.max_file", "file_transfer.export.mode", "file_transfer.export.s3.secret_access_key", "file_transfer.export.bandwidth", "file_transfer.export.metered.windows"}
	if got := Changed("file_transfer", was, is); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

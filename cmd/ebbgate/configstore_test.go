package main

import (
	"bytes"
	"errors"
	"os/user"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// The check tries the bucket with the rights that an export needs, and says what
// is wrong there with an exit code of its own.
func TestConnectTriesTheBucket(t *testing.T) {
	store := peers.NewStore(t, "site-files")
	dir := t.TempDir()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*configs.FileTransfer)
		out    string
		err    string
		code   int
	}{
		"takes": {func(f *configs.FileTransfer) { f.Export.S3.Key = "site-7/" + f.Export.S3.Key }, "bucket site-files takes files\n", "", 0},
		"shared": {func(*configs.FileTransfer) {}, "bucket site-files takes files\nnote: they are called ${clientid}/${fileid}/${name} there; when another gateway has this bucket too, and devices with equal ids, " +
			"only the first of two files that are called alike is taken: begin file_transfer.export.s3.key with a level of its own for each, such as site-7/\n", "", 0},
		"off": {func(f *configs.FileTransfer) { f.Enabled, f.Export.S3.Bucket = false, "nobodys" }, "", "", 0},
		"folder": {func(f *configs.FileTransfer) {
			f.Export.To, f.Export.Folder.Dir, f.Export.S3.Bucket = configs.ExportFolder, dir, "nobodys"
		}, "folder " + dir + " takes files from " + me.Username + "\n", "", 0},
		"bucket": {func(f *configs.FileTransfer) { f.Export.S3.Bucket = "nobodys" }, "", "create the bucket", 0},
		"login":  {func(f *configs.FileTransfer) { f.Export.S3.SecretAccessKey = "wrong" }, "", "correct access_key_id and secret_access_key", exitRefused},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configs.Default()
			f := &cfg.FileTransfer
			f.Enabled, f.Export.To = true, configs.ExportS3
			f.Export.S3.Endpoint, f.Export.S3.PathStyle, f.Export.S3.Bucket = store.URL(), true, "site-files"
			f.Export.S3.AccessKeyID, f.Export.S3.SecretAccessKey = peers.StoreKey, peers.StoreSecret
			c.change(f)
			var out bytes.Buffer
			err := connectUpstreams(t.Context(), &out, cfg)
			if out.String() != c.out || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q, %v", out.String(), err)
			}
			if e, ok := errors.AsType[*exitError](err); ok != (c.code != 0) || ok && e.code != c.code {
				t.Errorf("exit code of %v", err)
			}
		})
	}
}

package configs

import (
	"path/filepath"

	"github.com/ebbgate/ebbgate/localbroker/upload"
	"github.com/ebbgate/ebbgate/upstream/folder"
	"github.com/ebbgate/ebbgate/upstream/s3"
)

// FileTransfer is files from devices, and where they go.
type FileTransfer struct {
	upload.Options `koanf:",squash"`
	Export         Export `koanf:"export" doc:"Where finished files go."`
}

// The values of Export.To.
const (
	ExportFolder = "folder"
	ExportS3     = "s3"
)

// Export is where finished files go. The options of the others than To do nothing.
type Export struct {
	To     string               `koanf:"to" enum:"folder,s3" doc:"Where finished files go: folder is a folder of this machine, s3 a bucket of Amazon S3 or of a store that speaks its protocol."`
	Upload upload.ExportOptions `koanf:",squash"`
	Folder folder.Options       `koanf:",squash"`
	S3     s3.Options           `koanf:"s3" doc:"The bucket, with to: s3."`
}

// DefaultFileTransfer is off, and goes to a folder.
func DefaultFileTransfer() FileTransfer {
	o := upload.DefaultOptions()
	return FileTransfer{Options: o, Export: Export{To: ExportFolder, Upload: o.Export, Folder: folder.DefaultOptions(), S3: s3.DefaultOptions()}}
}

// Upload are the options of the service that takes files.
func (f FileTransfer) Upload() upload.Options {
	o := f.Options
	o.Export = f.Export.Upload
	return o
}

// transferFolders are those of file transfer. What is not said is below the
// spool's folder, about which everything has been said.
func (c *check) transferFolders(dir string) {
	f := &c.config.FileTransfer
	c.file(dir, fileKey{path: "file_transfer.dir", value: &f.Dir, folder: true, made: true})
	if f.Dir == "" {
		f.Dir = filepath.Join(c.config.Spool.Dir, "files")
	}
	to := &f.Export.Folder
	c.file(dir, fileKey{path: "file_transfer.export.dir", value: &to.Dir, folder: true, made: true})
	if to.Dir == "" {
		to.Dir = filepath.Join(f.Dir, "exports")
	}
	c.file(dir, fileKey{path: "file_transfer.export.s3.ca", value: &f.Export.S3.CA})
}

// transfer asks those that file transfer is made of.
func (c *check) transfer() {
	f := c.config.FileTransfer
	c.under("file_transfer", "file-transfer", f.Upload().Validate())
	c.under("file_transfer.export", "file-transfer", f.Export.Folder.Validate())
	if f.Export.To != ExportS3 {
		return
	}
	c.under("file_transfer.export.s3", "file-transfer", f.Export.S3.Validate())
	if link := f.Export.S3.Link; link != "" {
		if _, ok := c.config.Upstreams[link]; !ok {
			c.complain("file_transfer.export.s3.link", codeUpstream, quote(link)+" is not an upstream", "name one of the upstreams, or leave it empty")
		}
	}
}

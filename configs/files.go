package configs

import (
	"net/url"
	"path/filepath"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/upload"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/filetransfer"
	"github.com/ebbgate/ebbgate/upstream/folder"
	"github.com/ebbgate/ebbgate/upstream/metered"
	"github.com/ebbgate/ebbgate/upstream/s3"
)

// FileTransfer is files from devices, and where they go.
type FileTransfer struct {
	upload.Options `koanf:",squash"`
	Export         Export `koanf:"export" doc:"Where finished files go."`
}

// The values of Export.To.
const (
	ExportFolder   = "folder"
	ExportS3       = "s3"
	ExportUpstream = "upstream"
)

// Export is where finished files go. The options of the others than To do nothing.
type Export struct {
	To     string               `koanf:"to" enum:"folder,s3,upstream" doc:"Where finished files go: folder is a folder of this machine; s3 a bucket of Amazon S3 or of a store that speaks its protocol; upstream is an EMQX cluster or another Ebbgate, by the same protocol."`
	Upload upload.ExportOptions `koanf:",squash"`
	Folder folder.Options       `koanf:",squash"`
	S3     s3.Options           `koanf:"s3" doc:"The bucket, with to: s3."`

	Upstream  filetransfer.Options `koanf:",squash"`
	Bandwidth bridge.Size          `koanf:"bandwidth" doc:"Bytes of files a second that leave this machine; 0 is unlimited, else at least 1KiB. Whatever it is, files get a tenth of the link's time while messages wait."`
	Metered   metered.Options      `koanf:"metered" doc:"When, and how much, files may go that leave this machine, besides what the metered of their upstream says, which is export.upstream, or export.s3.link."`
}

// Link is the upstream over whose link files go, empty when it is none's.
func (e Export) Link() string {
	switch e.To {
	case ExportS3:
		return e.S3.Link
	case ExportUpstream:
		return e.Upstream.Upstream
	}
	return ""
}

// Leaves reports whether files leave this machine, and so keep to a pace.
func (e Export) Leaves() bool { return e.To != ExportFolder }

// DefaultFileTransfer is off, and goes to a folder.
func DefaultFileTransfer() FileTransfer {
	o := upload.DefaultOptions()
	return FileTransfer{Options: o, Export: Export{To: ExportFolder, Upload: o.Export, Folder: folder.DefaultOptions(), S3: s3.DefaultOptions(), Metered: metered.DefaultOptions()}}
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
	c.under("file_transfer.export.metered", "file-transfer", f.Export.Metered.Validate())
	if b := f.Export.Bandwidth; b < 0 || b > 0 && b < 1<<10 {
		c.complain("file_transfer.export.bandwidth", "file-transfer", b.String()+" is too little for a file to arrive", "set it to 1KiB or more, or to 0 for no limit")
	}
	if f.Export.Metered.Override != metered.DefaultOptions().Override {
		c.complain("file_transfer.export.metered.override", "file-transfer", "does nothing: files have no priority", "take it out")
	}
	if f.Export.Upload.KeepFor != 0 && f.Export.Leaves() {
		c.complain("file_transfer.export.keep_for", "file-transfer", "is "+f.Export.Upload.KeepFor.String()+", and export.to is no folder", "write 0s; a bucket has lifecycle rules for this")
	}
	switch f.Export.To {
	case ExportUpstream:
		c.exportUpstream(f.Export)
	case ExportS3:
		c.exportS3(f.Export)
	}
}

// exportS3 asks the bucket's options, and finds a link that is none.
func (c *check) exportS3(e Export) {
	c.under("file_transfer.export.s3", "file-transfer", e.S3.Validate())
	if _, ok := c.config.Upstreams[e.S3.Link]; e.S3.Link != "" && !ok {
		c.complain("file_transfer.export.s3.link", codeUpstream, quote(e.S3.Link)+" is not an upstream", "name one of the upstreams, or leave it empty")
	}
}

// exportUpstream finds upstreams that cannot take files.
func (c *check) exportUpstream(e Export) {
	const at, code = "file_transfer.export.upstream", "file-transfer"
	u, ok := c.config.Upstreams[e.Upstream.Upstream]
	endpoint, err := url.Parse(u.MQTT.Endpoint)
	_, aws := upstream.ParseAWSHost(hostOf(endpoint, err))
	switch {
	case e.Upstream.Upstream == "":
		c.complain(at, code, "is missing, and export.to is upstream", "name the upstream that takes the files")
	case !ok: // routes says so
	case u.Type == TypeSandbox || aws:
		c.complain(at, code, quote(e.Upstream.Upstream)+" is AWS IoT Core, which takes no files", "name an EMQX cluster or another Ebbgate, or use another export.to")
	}
	if e.Upload.ExpireAt != upload.DefaultOptions().Export.ExpireAt {
		c.complain("file_transfer.export.expire_at", code, "is "+e.Upload.ExpireAt+", and nobody can remove files at an upstream from here", "write keep; the other side is told expire_at")
	}
}

func hostOf(u *url.URL, err error) string {
	if err != nil {
		return ""
	}
	return u.Hostname()
}

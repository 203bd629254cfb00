package s3

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"path"
	"strings"
	"unicode/utf16"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/ebbgate/ebbgate/bridge"
)

// object is how one file is called at the store, and what is kept with it.
type object struct {
	key      string
	size     int64
	kind     string // content type
	meta     map[string]string
	manifest bool // an object beside it has what the device said
	spoilt   bool // see spoiltObject
}

// The user metadata: EMQX's, and the hash of the whole.
const (
	metaClient  = "clientid"
	metaFile    = "fileid"
	metaSaid    = "filemeta"
	metaVersion = "filemeta-vsn"
	metaSum     = "sha256"
)

// objectOf finds out how a file is called. Its key is a path of names: neither id
// nor name can lead out of it, and no two files have one.
func (t *Target) objectOf(f *bridge.File) (*object, error) {
	o := &object{key: t.path(f), size: f.Size, kind: contentType(f.Name), manifest: t.o.Manifest == manifestAlways}
	if n := len(o.key); n > longestKey {
		return nil, bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "the key of %s would have %d bytes, and S3 takes %d; shorten file_transfer.export.s3.key, or have the device use shorter ids", f.Name, n, longestKey)
	}
	if f.Size > largestFile {
		return nil, bridge.Errorf(bridge.OpExport, bridge.TooLarge, "%s has %d bytes, and an object of S3 has %v at most", f.Name, f.Size, bridge.Size(largestFile))
	}
	o.meta = map[string]string{
		metaClient: header(f.ClientID), metaFile: header(f.FileID), metaVersion: "1",
		metaSum: hex.EncodeToString(f.SHA256[:]), metaSaid: ascii(f.Meta),
	}
	if sizeOf(o.meta) > mostMeta {
		said, err := withoutUserData(f.Meta)
		if err != nil {
			return nil, bridge.Errorf(bridge.OpExport, bridge.PayloadInvalid, "what the device said of %s: %w", f.Name, err)
		}
		o.manifest = true
		if o.meta[metaSaid] = ascii(said); sizeOf(o.meta) > mostMeta {
			delete(o.meta, metaSaid) // a name of nothing but emoji
		}
	}
	if n := len(o.key) + len(bridge.ManifestSuffix); o.manifest && n > longestKey {
		return nil, bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "the key of the manifest of %s would have %d bytes, and S3 takes %d; shorten file_transfer.export.s3.key, or have the device use shorter ids", f.Name, n, longestKey)
	}
	return o, nil
}

// sizeOf is how S3 counts user metadata.
func sizeOf(meta map[string]string) (n int) {
	for k, v := range meta {
		n += len(k) + len(v)
	}
	return n
}

// withoutUserData is what the device said of its file, without what may be of any
// size.
func withoutUserData(said []byte) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(said, &all); err != nil {
		return nil, err
	}
	delete(all, "user_data")
	return json.Marshal(all)
}

// ascii is JSON in which every character that no header may have is escaped: they
// are all in strings.
func ascii(text []byte) string {
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r >= 0x20 && r < 0x7f:
			b.WriteRune(r)
		case r < 0x20: // between tokens only
			b.WriteByte(' ')
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			_, _ = fmt.Fprintf(&b, `\u%04x\u%04x`, high, low) // never fails
		default:
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// header is an id as a key has it, with what no header may have escaped as well.
func header(id string) string {
	var b strings.Builder
	for _, c := range []byte(bridge.EscapeID(id)) {
		if c > 0x20 && c < 0x7f || c == ' ' {
			b.WriteByte(c)
		} else {
			_, _ = fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// kinds are the content types of what devices send, whatever this machine's tables
// say.
var kinds = map[string]string{
	".txt": "text/plain; charset=utf-8", ".log": "text/plain; charset=utf-8", ".csv": "text/csv; charset=utf-8", ".md": "text/markdown; charset=utf-8",
	".html": "text/html; charset=utf-8", ".xml": "application/xml", ".json": "application/json", ".ndjson": "application/x-ndjson", ".jsonl": "application/x-ndjson",
	".yaml": "application/yaml", ".yml": "application/yaml", ".cbor": "application/cbor", ".parquet": "application/vnd.apache.parquet", ".pdf": "application/pdf",
	".gz": "application/gzip", ".tgz": "application/gzip", ".zip": "application/zip", ".tar": "application/x-tar", ".zst": "application/zstd", ".xz": "application/x-xz", ".7z": "application/x-7z-compressed",
	".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp", ".tif": "image/tiff", ".tiff": "image/tiff", ".bmp": "image/bmp", ".avif": "image/avif", ".heic": "image/heic", ".svg": "image/svg+xml",
	".mp4": "video/mp4", ".m4v": "video/mp4", ".mkv": "video/matroska", ".webm": "video/webm", ".mov": "video/quicktime", ".avi": "video/vnd.avi", ".ts": "video/mp2t",
	".wav": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".flac": "audio/flac", ".opus": "audio/ogg",
	".pcap": "application/vnd.tcpdump.pcap", ".bin": unknownKind,
}

const unknownKind = "application/octet-stream"

// contentType goes by the name's extension.
func contentType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if k := kinds[ext]; k != "" {
		return k
	}
	if k := mime.TypeByExtension(ext); k != "" {
		return k
	}
	return unknownKind
}

// hash is a SHA-256 as headers have it.
func hash(sum [sha256.Size]byte) *string {
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

// encryption is that of the options; key is nil for none.
func (t *Target) encryption() (sse types.ServerSideEncryption, key *string) {
	if t.o.SSE == none {
		return "", nil
	}
	if t.o.SSEKey != "" {
		key = aws.String(t.o.SSEKey)
	}
	return types.ServerSideEncryption(t.o.SSE), key
}

// acl is that of the options, empty for none.
func (t *Target) acl() types.ObjectCannedACL {
	if t.o.ACL == none {
		return ""
	}
	return types.ObjectCannedACL(t.o.ACL)
}

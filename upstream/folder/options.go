package folder

import (
	"crypto/sha1" //nolint:gosec // names a folder as EMQX does; nothing rests on it
	"encoding/binary"
	"encoding/hex"
	"path"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Options say which folder, and how files are called in it.
type Options struct {
	Dir    string `koanf:"dir" doc:"Folder of the finished files, with to: folder; empty: exports in dir of file_transfer."`
	Layout string `koanf:"layout" template:"path" doc:"Path of a file in that folder: emqx (EMQX's, by a hash of client and file id), or a template with ${clientid}, ${fileid} and ${name}, a / between each two, such as ${clientid}/${fileid}/${name} or dev-${clientid}/${fileid}/${name}."`
}

// layoutEMQX is the value of Layout for EMQX's.
const layoutEMQX = "emqx"

// DefaultOptions are EMQX's.
func DefaultOptions() Options { return Options{Layout: layoutEMQX} }

// Validate lists what is wrong with the options.
func (o Options) Validate() []bridge.Problem {
	if _, err := parseLayout(o.Layout); err != nil {
		return []bridge.Problem{{Path: "layout", Text: err.Error(), Remedy: "write emqx, or a template such as ${clientid}/${fileid}/${name}"}}
	}
	return nil
}

func parseLayout(text string) (upstream.FilePath, error) {
	if text == layoutEMQX {
		return func(f *bridge.File) string {
			return path.Join(bucket(f.ClientID, f.FileID), bridge.EscapeID(f.ClientID), bridge.EscapeID(f.FileID), f.Name)
		}, nil
	}
	return upstream.ParseFilePath(text)
}

// bucket is the folder of a client's file in EMQX's layout: the SHA-1 of
// the Erlang external term {ClientId, FileId}.
func bucket(clientID, fileID string) string {
	term := []byte{0x83, 0x68, 0x02}
	for _, s := range []string{clientID, fileID} {
		term = append(term, 0x6d)
		term = binary.BigEndian.AppendUint32(term, uint32(len(s)))
		term = append(term, s...)
	}
	sum := sha1.Sum(term) //nolint:gosec // see above
	h := strings.ToUpper(hex.EncodeToString(sum[:]))
	return path.Join(h[:2], h[2:4], h[4:])
}

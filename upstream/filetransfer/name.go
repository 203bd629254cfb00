package filetransfer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// readable is how much of an id of a device stands in the file id of the other side.
const readable = 40

// remoteID is the file id for the other side: for people the device's client id and
// file id, shortened and without what a topic cannot hold, and behind them 128 bits
// of a hash over both, the content, and how often all had to begin under a new name.
// A device cannot make another's.
func remoteID(f *bridge.File, round int) string {
	h := sha256.New()
	for _, part := range []string{f.ClientID, f.FileID, string(f.SHA256[:])} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // a hash never fails
		h.Write([]byte(part))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(round))) //nolint:gosec // counted from 0
	return plain(f.ClientID) + "-" + plain(f.FileID) + "-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// plain keeps letters, digits, '.', '_' and '-' of an id.
func plain(id string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, id)
	return out[:min(len(out), readable)]
}

// said is what the device's init said, as far as it goes on.
type said struct {
	ExpireAt *int64          `json:"expire_at"`
	UserData json.RawMessage `json:"user_data"`
}

// initial is the payload of init.
type initial struct {
	Name     string   `json:"name"`
	Size     int64    `json:"size"`
	Checksum string   `json:"checksum"`
	ExpireAt *int64   `json:"expire_at,omitempty"`
	UserData userData `json:"user_data"`
}

// userData tells the receiver whose file it is, and what the device said of it.
type userData struct {
	Gateway  string          `json:"gateway"`
	ClientID string          `json:"clientid"`
	FileID   string          `json:"fileid"`
	UserData json.RawMessage `json:"user_data,omitempty"`
	Omitted  bool            `json:"user_data_omitted,omitempty"` // it is too large to go with the rest
}

// maxInit is what an Ebbgate takes of an init.
const maxInit = 16 << 10

// initOf makes the payload of init.
func initOf(gateway string, f *bridge.File) ([]byte, error) {
	var s said
	if err := json.Unmarshal(f.Meta, &s); err != nil {
		return nil, bridge.Errorf(bridge.OpExport, bridge.Corrupt, "what was said of the file cannot be read: %w", err)
	}
	i := initial{
		Name: f.Name, Size: f.Size, Checksum: hex.EncodeToString(f.SHA256[:]), ExpireAt: s.ExpireAt,
		UserData: userData{Gateway: gateway, ClientID: f.ClientID, FileID: f.FileID, UserData: s.UserData},
	}
	out, err := json.Marshal(i)
	if err == nil && len(out) > maxInit {
		i.UserData.UserData, i.UserData.Omitted = nil, true
		out, err = json.Marshal(i)
	}
	return out, err
}

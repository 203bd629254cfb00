package scenario

import (
	"crypto/sha256"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// fileStore is where a gateway exports to.
type fileStore struct {
	set   []string                                        // settings of the gateway
	fetch func(client, file, name string) ([]byte, error) // what has arrived, whole
	close func(t *testing.T)                              // looks for what is left behind
}

// fileStores are the folder of exports, and a store that speaks S3.
var fileStores = []struct {
	name string
	open func(t *testing.T, dir string) fileStore // dir is the gateway's, for its own folder
}{
	{"directory", func(_ *testing.T, dir string) fileStore {
		root := filepath.Join(dir, "exports")
		return fileStore{
			set: []string{"file_transfer.export.dir=" + root, "file_transfer.export.layout=${clientid}/${fileid}/${name}"},
			fetch: func(client, file, name string) ([]byte, error) {
				return os.ReadFile(filepath.Join(root, client, file, name))
			},
			close: func(*testing.T) {},
		}
	}},
	{"S3", func(t *testing.T, _ string) fileStore {
		store := peers.NewStore(t, filmBucket)
		return fileStore{
			set: exportsToS3(store.URL()),
			fetch: func(client, file, name string) ([]byte, error) {
				return os.ReadFile(filepath.Join(store.Dir, filmBucket, client, file, name))
			},
			close: func(t *testing.T) {
				if left := unfinished(t, store); len(left) > 0 {
					t.Errorf("left at the store: %q", left)
				}
			},
		}
	}},
}

// filmClient sends the film by a library for devices, many segments in flight.
// Connecting again is the library's, and so is repeating, as far as it does: what
// it reports as failed is published again. It tells each acknowledged segment.
type filmClient struct {
	name string
	send func(t *testing.T, broker string, content []byte, segment int, acked func(n int))
}

// TestFilesOfClients: libraries for devices send a file in segments of 128 KiB
// while the gateway is killed and the link cut, in a soak three and five times. None of
// them knows more than that a publish was acknowledged, and paho the response to its
// fin; the file that arrives, in the folder and at the store, is the one that was sent.
func TestFilesOfClients(t *testing.T) {
	t.Parallel()
	const segment = 128 << 10
	for _, kind := range fileStores {
		for _, c := range []filmClient{
			{"paho for Go", film(peers.Go, "pahofile", 4)},
			{"MQTT.js 3.1.1", film(peers.Node, "mqttjsfile", 4)},
			{"MQTT.js 5", film(peers.Node, "mqttjsfile", 5)},
		} {
			t.Run(kind.name+", "+c.name, func(t *testing.T) {
				store := kind.open(t, t.TempDir())
				g := local(t, append([]string{"file_transfer.enabled=true"}, store.set...)...)
				g.start()
				s := &storm{g: g, proxy: peers.NewProxy(t, g.Listen), kills: scaled(3, 1), cuts: scaled(5, 2)}
				content := newFilmUpload(t, "", scaled(200<<20, 6<<20), dice(t)).content
				s.segments = (len(content) + segment - 1) / segment
				began := time.Now()
				c.send(t, s.proxy.Addr, content, segment, s.acked)
				sent := time.Since(began)
				if s.blows != s.kills+s.cuts {
					t.Errorf("%d kills and cuts, want %d", s.blows, s.kills+s.cuts)
				}
				var got []byte
				if !until(20*time.Second, func() (ok bool) {
					var err error
					got, err = store.fetch("camera", "film", "film.bin")
					return err == nil
				}) {
					_, show, _ := g.get("/api/v1/transfers/camera/film")
					t.Fatalf("the file does not arrive: %s", show)
				}
				if sha256.Sum256(got) != sha256.Sum256(content) {
					t.Errorf("%d bytes arrived that are not the %d sent", len(got), len(content))
				}
				t.Logf("%d bytes, %d kills, %d cuts: sent in %v, in its place after %v, SHA-256 equal", len(content), s.kills, s.cuts, sent.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
				if code := g.stop(); code != 0 {
					t.Errorf("exit code %d", code)
				}
				store.close(t)
			})
		}
	}
}

// storm kills the gateway and cuts the link in turn, evenly over an upload.
type storm struct {
	g                  *gateway
	proxy              *peers.Proxy
	segments           int
	kills, cuts, blows int
}

// acked is told how many segments have been acknowledged.
func (s *storm) acked(n int) {
	all := s.kills + s.cuts
	if s.blows == all || n < (s.blows+1)*s.segments/(all+1) {
		return
	}
	s.blows++
	if s.blows%2 == 0 && s.blows/2 <= s.kills {
		s.g.kill()
		s.proxy.Cut()
		s.g.start()
	} else {
		s.proxy.Cut()
	}
	s.proxy.Restore()
}

// program is a client of package peers.
type program func(testing.TB, string, peers.NodeOptions) *peers.NodeClient

// film is a program, which tells of each segment that is acknowledged.
func film(start program, name string, version int) func(*testing.T, string, []byte, int, func(int)) {
	return func(t *testing.T, broker string, content []byte, segment int, acked func(int)) {
		file := filepath.Join(t.TempDir(), "film.bin")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		host, port, err := net.SplitHostPort(broker)
		if err != nil {
			t.Fatal(err)
		}
		o := peers.NodeOptions{Version: version, URL: "mqtt://" + broker, Host: host, Client: "camera", Topic: "$file/film", File: file, Segment: segment}
		if o.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
		n := start(t, name, o)
		for i := range (len(content) + segment - 1) / segment {
			if got := n.Step("acked").Code; got != i+1 {
				t.Fatalf("segment %d is acknowledged after %d", got, i)
			}
			acked(i + 1)
		}
		n.Step("sent")
		n.End()
	}
}

package scenario

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// fileStore is where a gateway exports to.
type fileStore struct {
	name  string
	set   []string                                                    // settings of the gateway
	fetch func(g *gateway, client, file, name string) ([]byte, error) // what has arrived, whole
}

func fileStores() []fileStore {
	return []fileStore{{
		name: "directory",
		set:  []string{"file_transfer.export.layout=${clientid}/${fileid}/${name}"},
		fetch: func(g *gateway, client, file, name string) ([]byte, error) {
			return os.ReadFile(filepath.Join(g.Data, "files", "exports", client, file, name))
		},
	}}
}

// filmClient sends the film by a library for devices, as its examples do:
// connection and repetition are the library's. It tells each acknowledged segment.
type filmClient struct {
	name string
	send func(t *testing.T, broker string, content []byte, segment int, acked func(n int))
}

// TestFilesOfClients: libraries for devices send a file in segments of 128 KiB
// while the gateway is killed three times and the link cut five times. None of them
// knows more than that a publish was acknowledged; the file that arrives is the
// one that was sent.
func TestFilesOfClients(t *testing.T) {
	const segment = 128 << 10
	for _, store := range fileStores() {
		for _, c := range []filmClient{{"paho for Go", pahoFilm}, {"MQTT.js 3.1.1", nodeFilm(4)}, {"MQTT.js 5", nodeFilm(5)}} {
			t.Run(store.name+", "+c.name, func(t *testing.T) {
				g := local(t, append([]string{"file_transfer.enabled=true"}, store.set...)...)
				g.start()
				s := &storm{g: g, proxy: peers.NewProxy(t, g.Listen), kills: 3, cuts: 5}
				content := newFilmUpload(t, "", scaled(200<<20, 12<<20), dice(t)).content
				s.segments = (len(content) + segment - 1) / segment
				c.send(t, s.proxy.Addr, content, segment, s.acked)
				if s.blows != s.kills+s.cuts {
					t.Errorf("%d kills and cuts, want %d", s.blows, s.kills+s.cuts)
				}
				var got []byte
				if !until(60*time.Second, func() (ok bool) {
					var err error
					got, err = store.fetch(g, "camera", "film", "film.bin")
					return err == nil
				}) {
					t.Fatal("the file does not arrive")
				}
				if sha256.Sum256(got) != sha256.Sum256(content) {
					t.Errorf("%d bytes arrived that are not the %d sent", len(got), len(content))
				}
				if code := g.stop(); code != 0 {
					t.Errorf("exit code %d", code)
				}
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

// pahoFilm is paho for Go, with its own store and its own reconnecting.
func pahoFilm(t *testing.T, broker string, content []byte, segment int, acked func(int)) {
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker).SetClientID("camera").SetCleanSession(false).
		SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond).SetMaxReconnectInterval(200 * time.Millisecond))
	defer c.Disconnect(0)
	wait := func(token mqtt.Token) {
		t.Helper()
		if !token.WaitTimeout(2 * time.Minute) {
			t.Fatal("no answer in two minutes")
		}
		if err := token.Error(); err != nil {
			t.Fatal(err)
		}
	}
	wait(c.Connect())
	wait(c.Publish("$file/film/init", 1, false, `{"name":"film.bin"}`))
	const window = 40
	flying := make(chan mqtt.Token, window)
	var publisher sync.WaitGroup
	publisher.Go(func() {
		defer close(flying)
		for at := 0; at < len(content); at += segment {
			flying <- c.Publish(fmt.Sprintf("$file/film/%d", at), 1, false, content[at:min(at+segment, len(content))])
		}
	})
	n := 0
	for token := range flying {
		wait(token)
		n++
		acked(n)
	}
	publisher.Wait()
	wait(c.Publish(fmt.Sprintf("$file/film/fin/%d/%x", len(content), sha256.Sum256(content)), 1, false, ""))
}

// nodeFilm is MQTT.js.
func nodeFilm(version int) func(*testing.T, string, []byte, int, func(int)) {
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
		n := peers.Node(t, "mqttjsfile", o)
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

package scenario

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// putting is an ebbgate files put that runs.
type putting struct {
	*exec.Cmd
	out strings.Builder
}

func startPut(t *testing.T, dir, proxy string, args ...string) *putting {
	t.Helper()
	p := &putting{Cmd: exec.Command(binary(t), append([]string{"files", "put", "film.bin", "--broker", "mqtt://" + proxy, "--client-id", "camera", "--file-id", "film", "--segment-size", "16KiB", "--in-flight", "2", "--json"}, args...)...)}
	p.Dir, p.Stdout = dir, &p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill() // fails only when it has ended
			_ = p.Wait()         // it was killed
		}
	})
	return p
}

// received is how much of the one transfer a gateway has, -1 when it cannot be asked.
func (g *gateway) received() int64 {
	_, body, err := g.get("/api/v1/transfers?state=running")
	var page struct {
		Transfers []struct{ Received int64 }
	}
	if err != nil || json.Unmarshal([]byte(body), &page) != nil || len(page.Transfers) != 1 {
		return -1
	}
	return page.Transfers[0].Received
}

// TestFilesPut: a file that is put arrives though the link is cut, the gateway is
// killed and the command itself interrupted; the same command goes on where it was,
// and the gateway's own commands see it come and fetch it again.
func TestFilesPut(t *testing.T) {
	t.Parallel()
	g := local(t, "file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}")
	g.start()
	proxy := peers.NewProxy(t, g.Listen)
	proxy.Delay(5 * time.Millisecond)
	size := int64(scaled(100<<20, 2<<20))
	film := noise(int(size), dice(t))
	if err := os.WriteFile(filepath.Join(g.dir, "film.bin"), film, 0o600); err != nil {
		t.Fatal(err)
	}
	come := func(part int64) {
		t.Helper()
		if !until(2*time.Minute, func() bool { return g.received() >= size*part/4 }) {
			t.Fatalf("it stands still at %d of %d", g.received(), size)
		}
	}
	p := startPut(t, g.dir, proxy.Addr)
	come(1)
	proxy.Cut()
	proxy.Restore()
	proxy.Delay(5 * time.Millisecond)
	come(2)
	g.kill()
	proxy.Cut()
	proxy.Restore()
	proxy.Delay(5 * time.Millisecond)
	g.start()
	come(3)
	if err := p.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || p.ProcessState.ExitCode() != 1 {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := os.Stat(filepath.Join(g.dir, "film.bin.put.json")); err != nil {
		t.Error(err)
	}

	p = startPut(t, g.dir, proxy.Addr)
	if err := p.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &p.out)
	}
	var r struct{ Resumed, Messages int64 }
	if err := json.Unmarshal([]byte(p.out.String()), &r); err != nil || r.Resumed < size/2 || r.Messages > size/(16<<10)/2 {
		t.Errorf("%s: %v", &p.out, err)
	}
	if !until(30*time.Second, func() bool {
		_, out, _ := cli(t, g.dir, "files", "ls", "--config", "ebbgate.yaml", "--exported", "--json")
		return strings.Contains(out, `"place":"camera/film/film.bin"`)
	}) {
		t.Fatal("the file is not exported")
	}
	if code, _, stderr := cli(t, g.dir, "files", "get", "camera", "film", "--config", "ebbgate.yaml", "--out", "copy.bin"); code != 0 {
		t.Fatal(stderr)
	}
	got, err := os.ReadFile(filepath.Join(g.dir, "copy.bin"))
	if err != nil || sha256.Sum256(got) != sha256.Sum256(film) {
		t.Errorf("%d bytes arrived, %d were sent, %v", len(got), len(film), err)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

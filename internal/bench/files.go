package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// The bounds of file transfer, and its load.
const (
	fileRatio     = 0.8
	fileDevices   = 4
	filesAnon     = 200 // MB
	filesPeak     = 2.5 // bytes of disk for each of the files
	filesAfter    = 1.1
	filesLatency  = 2 // p99 of telemetry during the transfer by that without it
	exportTime    = 60 * time.Second
	filesDevices  = 20 // that send telemetry meanwhile
	telemetryTime = 5 * time.Second
	besideTime    = 20 * time.Second
	filesSeed     = 2
)

// fileSettings are those of a gateway that takes files into a folder with a path
// that can be told.
var fileSettings = []string{"file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}"}

// measureFile is how fast one device sends a file, against the same device
// sending it to mosquitto, from where mosquitto_sub writes it to a file.
func (b *bench) measureFile(ctx context.Context) error {
	synced := b.report.add(figure{Item: "file", What: fmt.Sprintf("one device sends %s MB", number(float64(b.File)/megabyte)), Unit: "MB/s", With: "by mosquitto to a file, synced at its end", Bound: bound{ratioAtLeast, fileRatio}})
	loose := b.report.add(figure{What: "  the same", Unit: "MB/s", With: "by mosquitto to a file, never synced"})
	b.noteFiles()
	f := newFilm(b.File, 1)
	return b.eachRun(ctx, partFile, func(run string) error {
		ours, err := b.sendFiles(ctx, f, 1)
		if err != nil {
			return err
		}
		unsynced, peer, err := b.copyFiles(ctx, f, 1)
		if err != nil {
			return err
		}
		synced.Ours, synced.Peer = append(synced.Ours, ours), append(synced.Peer, peer)
		loose.Ours, loose.Peer = append(loose.Ours, ours), append(loose.Peer, unsynced)
		b.say("%s: %s MB/s, mosquitto %s MB/s, without its sync %s MB/s", run, number(ours), number(peer), number(unsynced))
		return nil
	})
}

func (b *bench) noteFiles() {
	b.note("file: segments of %d KiB of noise at QoS 1, %d in flight. The gateway's time ends with the PUBACK of fin: the file is whole, its SHA-256 right, and every byte synced before its segment was acknowledged. mosquitto's ends when mosquitto_sub -q 1 has written all segments to a file and has ended; synced: and that file has been synced once. Before each, as many bytes are written to a file that is removed, so that neither meets memory that a virtual machine must first get.",
		fileSegment>>10, fileWindow)
}

// sendFiles is the rate, in MB/s, at which a gateway takes files of as many
// devices at once.
func (b *bench) sendFiles(ctx context.Context, f *film, devices int) (float64, error) {
	if err := b.warm(f, devices); err != nil {
		return 0, err
	}
	g, err := openGateway(ctx, b.ebbgate, b.work, gatewayOptions{set: fileSettings})
	if err != nil {
		return 0, err
	}
	defer g.close()
	took, err := uploadAll(ctx, g.addr, f, devices)
	if err == nil {
		err = g.exports(ctx, devices, exportTime)
	}
	if err == nil {
		err = g.holds(f, devices)
	}
	if err != nil {
		return 0, g.failed(err)
	}
	return float64(f.size) * float64(devices) / megabyte / took.Seconds(), nil
}

// warm makes the kernel's memory for the files ready, and the disk idle. On a
// virtual machine pages that nobody has used for a while are the host's: who comes
// first would be measured by how fast those come back.
func (b *bench) warm(f *film, devices int) error {
	out, err := os.CreateTemp(b.work, "warm-")
	if err != nil {
		return err
	}
	for range devices {
		for at := int64(0); at < f.size && err == nil; at += fileSegment {
			_, err = out.Write(f.segment(at))
		}
	}
	return errors.Join(err, os.Remove(out.Name()), out.Close(), syncFileSystem(b.work))
}

// uploadAll sends the file from each of the devices, and tells how long it took
// until the last had its answer.
func uploadAll(ctx context.Context, addr string, f *film, devices int) (time.Duration, error) {
	var all []*uploader
	for i := range devices {
		u, err := newUploader(ctx, addr, clientName(i), f)
		if err != nil {
			return 0, err
		}
		defer u.conn.Close()
		all = append(all, u)
	}
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for _, u := range all {
		g.Go(func() error { return u.upload(ctx) })
	}
	err := g.Wait()
	return time.Since(start), err
}

// exports waits for the files in the gateway's folder.
func (g *gateway) exports(ctx context.Context, devices int, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for i := range devices {
		for {
			if _, err := os.Stat(g.filmOf(i)); err == nil {
				break
			} else if pause(ctx, 10*time.Millisecond) != nil {
				return fmt.Errorf("not exported in %v: %w", most, err)
			}
		}
	}
	return nil
}

// filmOf is the file of a device where the gateway exports it to.
func (g *gateway) filmOf(device int) string {
	return filepath.Join(g.data, "files", "exports", clientName(device), "film", "film.bin")
}

// holds checks the files of the devices.
func (g *gateway) holds(f *film, devices int) error {
	for i := range devices {
		if err := f.isIn(g.filmOf(i)); err != nil {
			return err
		}
	}
	return nil
}

// isIn checks that a file has the content.
func (f *film) isIn(name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(h, in)
	if err == nil && (n != f.size || hex.EncodeToString(h.Sum(nil)) != f.sum) {
		err = fmt.Errorf("%s has %d bytes that are not the %d sent", name, n, f.size)
	}
	return err
}

// copyFiles is the rate at which the same devices send the same bytes to
// mosquitto, from where a mosquitto_sub for each writes them to a file; synced is
// with an fdatasync of each at the end.
func (b *bench) copyFiles(ctx context.Context, f *film, devices int) (loose, synced float64, err error) {
	if err := b.warm(f, devices); err != nil {
		return 0, 0, err
	}
	m, err := openMosquitto(ctx, b.work, bridged{}, inFlight)
	if err != nil {
		return 0, 0, err
	}
	defer m.close()
	var uploaders []*uploader
	var copies []*copied
	for i := range devices {
		u, err := newUploader(ctx, m.addr, clientName(i), f)
		if err != nil {
			return 0, 0, err
		}
		defer u.conn.Close()
		c, err := m.copy(ctx, topicOf(clientName(i)), f.segments())
		if err != nil {
			return 0, 0, err
		}
		defer c.close()
		uploaders, copies = append(uploaders, u), append(copies, c)
	}
	if err := pause(ctx, subscribeTime); err != nil {
		return 0, 0, err
	}
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for i, u := range uploaders {
		g.Go(func() error { return u.stream(ctx, func(int64) string { return topicOf(clientName(i)) }) })
	}
	for _, c := range copies {
		g.Go(c.cmd.Wait)
	}
	if err := g.Wait(); err != nil {
		return 0, 0, m.failed(err)
	}
	wrote := time.Since(start)
	for _, c := range copies {
		if err := syncData(c.file); err != nil {
			return 0, 0, err
		}
	}
	kept := time.Since(start)
	for _, c := range copies {
		if err := f.isIn(c.file.Name()); err != nil {
			return 0, 0, err
		}
	}
	mb := float64(f.size) * float64(devices) / megabyte
	return mb / wrote.Seconds(), mb / kept.Seconds(), nil
}

// subscribeTime is what mosquitto_sub gets for its SUBSCRIBE: it does not say
// when it is there. That it was in time is seen from its file.
const subscribeTime = 500 * time.Millisecond

// copied is a mosquitto_sub that writes what comes to a file.
type copied struct {
	cmd  *exec.Cmd
	file *os.File
}

// copy starts one that ends after n messages.
func (b *broker) copy(ctx context.Context, topic string, n int) (*copied, error) {
	program, err := findProgram("mosquitto_sub")
	if err != nil {
		return nil, err
	}
	out, err := os.CreateTemp(b.dir, "copy-")
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	c := &copied{cmd: exec.CommandContext(ctx, program, "-h", host, "-p", port, "-q", "1", "-t", topic, "-N", "-C", strconv.Itoa(n)), file: out}
	c.cmd.Stdout, c.cmd.SysProcAttr = out, childAttr()
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return c, nil
}

func (c *copied) close() {
	_ = c.cmd.Process.Kill() // fails only when it has ended
	_ = c.file.Close()       // only read by us
}

package upload

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/bridge"
)

// Shelf is where the state of transfers is kept: the part of [bridge.Spool]
// that is used, with its promises.
type Shelf interface {
	Commit(b *bridge.Batch, done func(bridge.Seq, error))
	Get(namespace, key string) ([]byte, error)
	Scan(namespace, prefix string, fn func(key string, value []byte) bool) error
	Forget(namespace string, keys ...string)
	Age() time.Duration
}

// Deps are what the service works with. All are required but Open,
// Held and Pace.
type Deps struct {
	Shelf  Shelf
	Target bridge.FileTarget
	Tell   func(*bridge.Message) // publishes a response
	Drops  *bridge.DropLog
	Health *bridge.Health
	Log    *slog.Logger

	// Open waits until nothing holds exports back: a window, a budget. Nil: nothing
	// ever does.
	Open func(ctx context.Context) error

	// Held says why exports are held back now, empty when they are not. It must not
	// wait. Nil: nothing ever does.
	Held func() string

	// Pace is that of files that leave this machine, by which they are read back there
	// too. Nil: there is none.
	Pace bridge.FilePace

	// Messages is how many messages the gateway has accepted so far: while there
	// are any, files yield to them.
	Messages func() int64

	// Wall is the wall clock and whether it is to be believed: for expire_at.
	Wall func() (now time.Time, synced bool)
}

// Service takes files from devices. Its methods may be called concurrently.
type Service struct {
	opts Options
	deps Deps
	sync *syncer
	now  func() time.Duration
	at   addressed // the target, if it is one; else nil
	tail tailed    // the same
	tag  string    // of our files, see path

	loads   loads
	hashing atomic.Int64 // bytes that wait for it
	allowed allowance    // commands
	looks   allowance    // into files at the target, see partOf
	berths  berths

	reads  berths             // of files for their checksums
	ending context.Context    // ends with ended: what takes long is given up
	end    context.CancelFunc // ends it

	mu       sync.Mutex
	open     map[pair]*transfer // that take segments, or whose fin is being worked on
	leaving  map[pair]*transfer // durably verified and queued, the newest of a pair
	queue    []*transfer        // verified, in the order of their fins
	exports  remembered
	flows    bool              // the target has taken what was tried last
	stored   bool              // the folder is there, and as it should be: see storeLocked
	usage    map[string]*usage // of the clients that have any
	all      usage
	opened   int // files of transfers
	ended    bool
	jobs     sync.WaitGroup
	exporter chan struct{} // capacity 1: the queue has changed
}

// usage is what transfers hold, of a client or of all.
type usage struct {
	transfers int // that are not whole yet
	waiting   int // whole ones that wait for their export, see weight
	segments  int
	bytes     int64
}

// transfer is one file on its way in. Service.mu guards it.
type transfer struct {
	pair
	number  uint64
	name    string // of its file, that an earlier start has left; else see path
	begun   time.Duration
	meta    *meta
	metaAge uint32

	data     *segmentFile // nil: not open
	end      int64        // of it, of what is to be written too
	charged  int64        // bytes that count
	segments map[span]stored
	prefix   prefix
	judged   judged   // by the job
	foreign  checksum // of pieces that are not all of the file before; by the job, see partOf
	users    int      // of data
	writers  int      // those of them that append to it
	saved    bool     // its record is on the shelf
	waits    int      // what it counts among those that wait for their export; 0: it is not one

	job       *job // the fin that is being worked on
	verified  *verdict
	moving    bool      // its file may have been renamed, see transferRecord
	exporting []*waiter // fins that wait for the exporter
	attempts  int       // of exporting, that have failed
	failure   error     // of the latest of them
	refused   bool      // the target will never take it as it is
	chances   chances
	journal   journal
	gone      bool // it is none any more; data is closed when it has no user
	over      bool // and its end is on the shelf: what else the disk has of it goes
}

// Open makes the service, with what an earlier start has left.
func Open(o Options, deps Deps) (*Service, error) {
	s := &Service{
		opts: o, deps: deps, now: deps.Shelf.Age,
		open: map[pair]*transfer{}, leaving: map[pair]*transfer{}, usage: map[string]*usage{}, exporter: make(chan struct{}, 1),
		allowed: allowance{rate: allowedBytes, burst: allowedBytes}, looks: allowance{rate: looksRate, burst: looksBurst},
		berths: berths{places: exportsAtOnce}, reads: berths{places: rehashAtOnce},
	}
	s.ending, s.end = context.WithCancel(context.Background())
	s.at, _ = deps.Target.(addressed)
	s.tail, _ = deps.Target.(tailed)
	s.deps.Target = &observed{FileTarget: deps.Target, of: s}
	s.sync = newSyncer(deps.Shelf.Commit, deps.Messages, s.synced)
	if err := errors.Join(s.restoreTag(), s.restore()); err != nil {
		return nil, fmt.Errorf("unfinished files: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.storeLocked(); err != nil && !ofDisk(err) {
		return nil, err
	}
	return s, nil
}

// sweepEvery is how often what is too old is looked for.
const sweepEvery = time.Minute

// Run works until ctx ends. What was acknowledged by then is durable, and what
// is under way goes on at the next start.
func (s *Service) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // the syncer ends last: others wait for it
	defer stop()
	var syncing, rest errgroup.Group
	syncing.Go(func() error { s.sync.run(work); return nil })
	rest.Go(func() error { s.export(ctx); return nil })
	rest.Go(func() error { s.sweeps(ctx); return nil })
	<-ctx.Done()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.end()
	err := rest.Wait()
	s.tellQueued(errBusy, nil)
	s.jobs.Wait()
	stop()
	err = errors.Join(err, syncing.Wait())
	s.closeFiles()
	return err
}

func (s *Service) sweeps(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	s.abandon(ctx)
	for {
		select {
		case <-tick.C:
			s.sweep(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) ease() *ease { return &ease{pacer: &s.sync.pacer} }

func (s *Service) closeFiles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range []map[pair]*transfer{s.open, s.leaving} {
		for _, t := range list {
			s.closeLocked(t)
		}
	}
}

// openLocked opens the transfer's file.
func (s *Service) openLocked(t *transfer) (err error) {
	if err := s.storeLocked(); err != nil {
		return err
	}
	return s.openFileLocked(t, os.O_CREATE)
}

// keepOpen is how many files stay open that nothing is being done with, of which each
// has two descriptors: sockets of devices, the spool and the clouds need theirs,
// however many transfers there are.
const keepOpen = 64

// openFileLocked opens it unless it is open; flag is os.O_CREATE or 0.
func (s *Service) openFileLocked(t *transfer, flag int) (err error) {
	if t.data != nil {
		return nil
	}
	if t.data, err = openSegments(s.path(t), flag); err == nil {
		s.opened++
	}
	return err
}

func (s *Service) closeLocked(t *transfer) {
	if t.data != nil {
		_ = t.data.Close() // what counts has been synced
		t.data = nil
		s.opened--
	}
}

// Owns reports whether a topic or filter is of file transfer. Profile aws has
// none of it.
func Owns(profile, topic string) bool {
	return profile != "aws" && (strings.HasPrefix(topic, rootSync) || strings.HasPrefix(topic, rootAsync) || strings.HasPrefix(topic, rootResponse))
}

// MaySubscribe reports whether a client may subscribe to a filter of file
// transfer: nobody sees commands, and only a client its own responses. One whose id has
// a wildcard gets none, and its filter would bring it those of others.
func MaySubscribe(clientID, filter string) bool {
	return filter == rootResponse+clientID && !strings.ContainsAny(clientID, "+#")
}

// LargestPacket is the largest PUBLISH that devices may send.
func (s *Service) LargestPacket() int { return int(s.opts.MaxSegment) + packetHead }

// packetHead is what a PUBLISH has beside its payload: a topic, and properties as
// AWS bounds them.
const packetHead = 64 << 10

// Admits checks a PUBLISH before the policy is asked.
func (s *Service) Admits(m *bridge.Message) error {
	switch {
	case strings.HasPrefix(m.Topic, rootResponse):
		return bridge.Errorf(bridge.OpPublish, bridge.NotAuthorized, "only the gateway publishes to %s…", rootResponse)
	case len(m.Payload) > int(s.opts.MaxSegment):
		return bridge.Errorf(bridge.OpPublish, bridge.TooLarge, "segment of %d bytes, at most %v (max_segment)", len(m.Payload), s.opts.MaxSegment)
	}
	return nil
}

// usageLocked finds or makes the usage of a client.
func (s *Service) usageLocked(client string) *usage {
	u := s.usage[client]
	if u == nil {
		u = &usage{}
		s.usage[client] = u
	}
	return u
}

// chargeLocked counts bytes and segments, which may be negative. Of a transfer
// that is gone nothing counts any more.
func (s *Service) chargeLocked(t *transfer, segments int, bytes int64) {
	if t.gone {
		return
	}
	t.charged += bytes
	for _, u := range []*usage{&s.all, s.usageLocked(t.client)} {
		u.segments += segments
		u.bytes += bytes
	}
}

// beginLocked finds the transfer of a pair that takes segments, or makes it.
func (s *Service) beginLocked(p pair) (*transfer, error) {
	if t := s.open[p]; t != nil {
		return t, nil
	}
	switch u := s.usage[p.client]; {
	case s.all.transfers >= s.opts.Transfers, s.all.waiting >= s.opts.Waiting:
		return nil, errNoSpace
	case u != nil && (u.transfers >= s.opts.ClientTransfers || u.waiting >= max(s.opts.Waiting/2, 1)):
		return nil, errQuota
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	t := &transfer{pair: p, number: binary.BigEndian.Uint64(b[:]), begun: s.now(), segments: map[span]stored{}}
	s.open[p] = t
	s.countLocked(t.client, t.waits, 1)
	return t, nil
}

// countLocked counts a transfer in or out, as one that waits where waits is not 0.
func (s *Service) countLocked(client string, waits, n int) {
	mine := s.usageLocked(client)
	for _, u := range []*usage{&s.all, mine} {
		if waits > 0 {
			u.waiting += n * waits
		} else {
			u.transfers += n
		}
	}
	if mine.transfers == 0 && mine.waiting == 0 {
		delete(s.usage, client)
	}
}

// weight is what a whole transfer counts while it waits for its export, however long an
// outage lasts: it is small on the disk, and what its init said is in memory.
func (t *transfer) weight() int { return 1 + len(t.meta.UserData)>>10 }

// record is the durable state.
func (t *transfer) record() bridge.Put {
	return bridge.Put{Namespace: shelfTransfer, Key: transferKey(t.number), Value: encodeJSON(transferRecord{
		ClientID: t.client, FileID: t.file, Begun: t.begun, Meta: t.meta, MetaAge: t.metaAge, Verified: t.verified, Moving: t.moving,
	})}
}

// saveLocked is the durable state unless it is there as it is. Until it is, each step
// brings it: of those that are under way the first may fail, and what the others bring
// is of nobody without it.
func (t *transfer) saveLocked(changed bool) []bridge.Put {
	if t.saved && !changed {
		return nil
	}
	return []bridge.Put{t.record()}
}

// room says whether the disk has room for n more bytes.
func (s *Service) room(n int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.opts.Dir, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free < int64(s.opts.Headroom)+n { //nolint:gosec // counts of blocks
		s.deps.Health.Raise(bridge.Warning{Code: warningFull, Severity: bridge.Degraded, Text: fmt.Sprintf(
			"the disk of %s has no room for segments of files, which are refused: free %d MiB more there (file_transfer.headroom, %v, stays free for messages)", s.opts.Dir, wholeMiB(int64(s.opts.Headroom)+n-free), s.opts.Headroom)})
		return errNoSpace
	}
	s.deps.Health.Clear(warningFull)
	return nil
}

// wholeMiB rounds up.
func wholeMiB(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// synced is told by each group whether its files are on the disk.
func (s *Service) synced(err error) {
	if err == nil {
		s.deps.Health.Clear(warningSync)
		return
	}
	s.deps.Log.Error("the disk did not confirm segments of files", "dir", s.opts.Dir, "error", err)
	s.deps.Health.Raise(bridge.Warning{Code: warningSync, Severity: bridge.Critical, Text: fmt.Sprintf(
		"the disk of %s did not confirm what was written (%v): those segments are refused; look at the kernel's log, and replace the disk if this comes again", s.opts.Dir, err)})
}

// The codes of warnings.
const (
	warningFull    = "files-full"
	warningSync    = "files-sync"
	warningExport  = "files-export"
	warningRefused = "files-refused"
)

func seconds(age time.Duration) uint32 { return uint32(min(max(age/time.Second, 0), 1<<32-1)) } //nolint:gosec // bounded

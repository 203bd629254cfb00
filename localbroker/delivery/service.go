package delivery

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
)

// Hander gives answers to devices: the local broker.
type Hander interface {
	Hand(asker *bridge.Principal, m *bridge.Message, left func(bridge.Result))
}

// Deps are what a service works with. All but Cloud are required.
type Deps struct {
	Library *Library
	Cloud   *Cloud // nil: only what was defined here
	Drops   *bridge.DropLog
	Health  *bridge.Health
	Log     *slog.Logger
}

// Service answers the requests of devices. It is a [localbroker.Family]. Make one
// with [New], tell it with Reach by what it answers, and end it with Close.
type Service struct {
	o    Options
	deps Deps
	hand Hander
	says *rate.Limiter // lines of the log

	editions   editions    // that devices are downloading
	damaged    sync.Map    // streams that a warning is about
	unreadable atomic.Bool // one is about all that are defined here

	ctx     context.Context
	end     context.CancelFunc
	workers sync.WaitGroup

	mu      sync.Mutex // also taken under locks of the broker: nothing else is called with it held
	devices map[string]*device
	forgot  time.Time // when idle devices were looked for
	closed  bool
}

var _ localbroker.Family = (*Service)(nil)

// New makes a service from valid options.
func New(o Options, deps Deps) *Service {
	s := &Service{o: o, deps: deps, says: rate.NewLimiter(10, 50), devices: map[string]*device{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// Reach sets by what devices are answered. It comes before the first request.
func (s *Service) Reach(h Hander) { s.hand = h }

// Close ends what is under way, and returns when it has.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.workers.Wait()
}

// Idle reports whether no request waits and nothing is on its way to a device.
func (s *Service) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.serving || d.bytes > 0 {
			return false
		}
	}
	return true
}

// Owns implements localbroker.Family. In profile mqtt requests are topics like any
// other; the answers are ours there too, since devices of other listeners hear them.
func (s *Service) Owns(profile, topic string) bool {
	if profile != "mqtt" || !ours(topic) {
		return ours(topic)
	}
	t, err := parseTopic(topic)
	return err == nil && !t.request()
}

// Admits implements localbroker.Family.
func (s *Service) Admits(m *bridge.Message) error {
	const most = 128 << 10 // AWS's payload, which would be read and refused in words
	if len(m.Payload) > most {
		return bridge.Errorf(bridge.OpPublish, bridge.TooLarge, "payload of %d bytes, at most %d", len(m.Payload), most)
	}
	return nil
}

// Subscribes implements localbroker.Family: it is for the policy to say.
func (s *Service) Subscribes(*bridge.Principal, string) bool { return true }

// Take implements localbroker.Family. A request is accepted, as AWS acknowledges
// before a service looks; its answer comes when the device's earlier ones have.
func (s *Service) Take(r localbroker.FamilyRequest, done func(error)) {
	t, err := parseTopic(r.Message.Topic)
	who := r.From.Name()
	switch {
	case err != nil: // there is no topic to answer on (F85)
		s.refuse(invalidTopicReason, r, err)
		done(nil)
		return
	case !t.request(): // a device must not speak for the cloud (F83)
		err = &bridge.Error{Op: bridge.OpPublish, Kind: bridge.TopicInvalid, Err: errAnswer}
	case t.thing != thingOf(r.From): // F82
		err = bridge.Errorf(bridge.OpPublish, bridge.NotAuthorized, "%s is not its own thing", t.thing)
	}
	if err != nil {
		s.deps.Drops.CountError(err, who, r.Message.Topic)
		done(err)
		return
	}
	if reason := s.enqueue(t, r); reason != "" {
		s.refuse(reason, r, errors.New("the request is dropped: a device asks again for what it has not got"))
	}
	done(nil)
}

// thingOf is the thing that a client speaks for: the registry's, or where it has
// none the one that its policy let it call itself by its client id.
func thingOf(p *bridge.Principal) string {
	if p.Thing.Name != "" {
		return p.Thing.Name
	}
	return p.ClientID
}

// refuse counts and logs what is not answered.
func (s *Service) refuse(reason string, r localbroker.FamilyRequest, err error) {
	s.deps.Drops.Count(reason, r.From.Name(), r.Message.Topic)
	s.note("a stream's request is not answered", r.From, r.Message.Topic, err)
}

// note logs, at a bounded rate: many devices do not subscribe to rejections.
func (s *Service) note(what string, who *bridge.Principal, topic string, err error) {
	if s.says.Allow() {
		s.deps.Log.Info(what, "client", who.Name(), "topic", topic, "error", err)
	}
}

// answer serves one request. It runs on the goroutine of its device.
func (s *Service) answer(j *job) {
	q, fault := s.o.read(j.topic.verb, j.topic.format, j.payload)
	if fault != nil {
		s.reject(j, fault)
		return
	}
	for again := range 2 {
		err := s.serve(j, q)
		if errors.Is(err, errVersion) && again == 0 && q.version == noVersion && j.sent == 0 {
			continue // it asked for no version: the next one will do, whole
		}
		switch f, is := errors.AsType[*Fault](err); {
		case err == nil:
			if _, was := s.damaged.LoadAndDelete(j.topic.stream); was {
				s.deps.Health.Clear("stream-" + j.topic.stream)
			}
		case is:
			said := *f // others may hear the same
			said.Token = q.token
			s.reject(j, &said)
		case errors.Is(err, errVersion) && q.version == noVersion && j.sent == 0: // it would not know what is wrong
			s.deps.Drops.Count("stream-away", j.from.Name(), j.topic.String())
		case errors.Is(err, errVersion):
			s.reject(j, &Fault{VersionMismatch, "the stream has another version now", q.token})
		case errors.Is(err, errAway), errors.Is(err, context.DeadlineExceeded): // silence is kinder: see the package comment
			s.deps.Drops.Count("stream-away", j.from.Name(), j.topic.String())
		case errors.Is(err, errUnheard):
			s.deps.Drops.Count("stream-unheard", j.from.Name(), j.topic.String())
		case s.ctx.Err() != nil:
		case errors.Is(err, errUnreadable): // told once for all
			s.reject(j, &Fault{InternalError, "the stream cannot be read now", q.token})
		default:
			s.damaged.Store(j.topic.stream, true)
			s.deps.Log.Error("a stream could not be read", "stream", j.topic.stream, "error", err)
			s.deps.Health.Raise(bridge.Warning{Code: "stream-" + j.topic.stream, Severity: bridge.Degraded, Text: "stream " + j.topic.stream + " cannot be served: " + err.Error() + "; " + mend(err)})
			s.reject(j, &Fault{InternalError, "the stream cannot be read now", q.token})
		}
		return
	}
}

// mend is what helps against a stream that cannot be read.
func mend(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "give its folder, and all that is in it, to the gateway's user: chown -R"
	}
	return "define it anew with ebbgate streams update"
}

// patience bounds how long one request is worked on: devices ask again after ten
// seconds or so. A rate that was set low has the time that it needs.
func (s *Service) patience() time.Duration {
	if s.o.BytesPerSecond > 0 {
		return time.Minute + 2*maxAnswer*time.Second/time.Duration(s.o.BytesPerSecond)
	}
	return time.Minute
}

// serve finds what is asked for and sends it.
func (s *Service) serve(j *job, q *request) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.patience())
	defer cancel()
	stream, from, err := s.find(ctx, thingOf(j.from), j.topic.stream)
	switch {
	case errors.Is(err, errNoStream): // F59
		return faultf(ResourceNotFound, "there is no stream %s", j.topic.stream)
	case err != nil:
		return err
	}
	if j.topic.verb == verbDescribe {
		return s.send(ctx, j, verbDescription, marshal(j.topic.format, describe(stream, q.token)))
	}
	f := stream.file(q.file)
	switch {
	case q.version != noVersion && q.version != stream.Version: // F60
		return faultf(VersionMismatch, "the stream's version is %d", stream.Version)
	case f == nil:
		return faultf(ResourceNotFound, "the stream has no file %d", q.file)
	case packetSize(j.topic, q) > j.largest:
		return faultf(BlockSize, "a block of %d bytes makes a packet larger than this connection's Maximum Packet Size of %d", q.block, j.largest)
	}
	blocks, err := q.blocks(f.Size, s.o.Range == rangeLenient)
	if err != nil {
		return faultf(InvalidRequest, "%v", err)
	}
	if q.version != noVersion && !s.editions.goOn(begunKey{j.topic.thing, j.topic.stream, stream.Version, f.ID}, stream.edition(), blocks[0] == 0) { // F79
		return faultf(VersionMismatch, "the stream is another one under the same version than that of which blocks were sent: begin anew, with block 0")
	}
	for _, n := range blocks {
		content, err := readBlock(ctx, from, stream, f, q.block, n)
		if err != nil {
			return err
		}
		b := block{q.token, f.ID, len(content), n, content}
		if err := s.send(ctx, j, verbData, b.payload(j.topic.format)); err != nil {
			return err
		}
	}
	return nil
}

// unreadableWarning is the code of the warning that nothing defined here can be read.
const unreadableWarning = "streams-unreadable"

// find looks for a stream here, then in the cloud, for a thing.
func (s *Service) find(ctx context.Context, thing, id string) (*Stream, source, error) {
	if !ValidID(id) {
		return nil, nil, errNoStream
	}
	stream, err := s.deps.Library.stream(id)
	switch unreadable := errors.Is(err, errUnreadable); {
	case unreadable && !s.unreadable.Swap(true):
		s.deps.Log.Error("the streams defined here cannot be read", "error", err)
		s.deps.Health.Raise(bridge.Warning{Code: unreadableWarning, Severity: bridge.Degraded, Text: err.Error() + "; give streams.dir, and all that is in it, to the gateway's user: chown -R"})
	case !unreadable && s.unreadable.Swap(false):
		s.deps.Health.Clear(unreadableWarning)
	}
	if s.deps.Cloud == nil || !errors.Is(err, errNoStream) && !errors.Is(err, errUnreadable) {
		return stream, s.deps.Library, err
	}
	stream, err = s.deps.Cloud.stream(ctx, thing, id)
	return stream, s.deps.Cloud, err
}

// reject tells the device, and whoever reads the log.
func (s *Service) reject(j *job, f *Fault) {
	s.deps.Drops.Count("stream-rejected", j.from.Name(), j.topic.String())
	s.note("a stream's request is rejected", j.from, j.topic.String(), f)
	ctx, cancel := context.WithTimeout(s.ctx, s.patience())
	defer cancel()
	if err := s.send(ctx, j, verbRejected, f.payload(j.topic.format)); err != nil && s.ctx.Err() == nil {
		s.note("the rejection found no receiver", j.from, j.topic.String(), err)
	}
}

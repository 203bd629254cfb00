package upload

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"os"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// Request is one PUBLISH to a topic of commands, which its sender may publish.
type Request struct {
	ClientID string
	May      bridge.Grants
	Message  *bridge.Message // its payload is taken away: it does not wait in memory
	PacketID uint16

	// After has fn called once the PUBACK has left. It is called at most once,
	// before done.
	After func(fn func())
}

// castagnoli is the polynomial of the segments' checksums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Take carries a command out. done is called once, with nil, a [*Fault] or an
// error of the policy; the response message follows the PUBACK. Take returns when
// there is room for a segment among those that are to be written, so that its device
// waits for the disk and no one else.
func (s *Service) Take(r Request, done func(error)) {
	switch r.Message.QoS {
	case 0: // F45: nobody would hear of it
		done(errQoS0)
		return
	case 2: // F45: as EMQX answers it; PUBREL finds nothing to do
		done(errTwice)
		return
	}
	if err := mayRespond(&r); err != nil {
		s.deps.Drops.CountError(err, r.ClientID, r.Message.ResponseTopic)
		done(err)
		return
	}
	answer := s.answerer(r, done)
	cmd, err := parseTopic(r.Message.Topic)
	if err != nil || cmd.verb != verbSegment || len(r.Message.Payload) == 0 {
		s.afford(r.ClientID, r.Message.MeteredSize())
	}
	if err == nil && !fits(r.ClientID) {
		err = errNameTooLong
	}
	if err != nil {
		answer(err)
		return
	}
	p := pair{r.ClientID, strings.Clone(cmd.fileID)} // the packet's bytes must not live on
	payload := r.Message.Payload
	noted := s.noting(p, cmd, r.Message.MeteredSize(), len(payload))
	r.Message.Payload = nil
	switch cmd.verb {
	case verbInit:
		s.init(p, payload, noted(answer))
	case verbSegment:
		s.segment(p, cmd, payload, noted(answer))
	case verbFin:
		if cmd.async {
			answer = s.deferred(r, done)
		}
		s.fin(p, cmd, noted(answer))
	default:
		s.abort(p, answer)
	}
}

// init takes what a device says of a file.
func (s *Service) init(p pair, payload []byte, answer func(error)) {
	m, err := parseMeta(payload)
	if err == nil && m.Size != nil && *m.Size > int64(s.opts.MaxFile) {
		err = errTooBig
	}
	if err != nil {
		answer(err)
		return
	}
	if err := s.describe(p, m, answer); err != nil {
		answer(err)
	}
}

// describe notes what init says, and answers when it is durable.
func (s *Service) describe(p pair, m *meta, answer func(error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.beginLocked(p)
	if err != nil {
		return err
	}
	if t.meta != nil && !t.meta.equal(m) {
		return errConflict
	}
	if t.verified != nil { // it is being exported, and its record may be on its way out
		s.sync.add(step{client: p.client, done: answer})
		return nil
	}
	fresh := t.meta == nil
	t.meta, t.metaAge = m, seconds(s.now())
	s.sync.add(step{client: p.client, puts: t.saveLocked(true), done: func(err error) {
		s.mu.Lock()
		switch {
		case err == nil:
			t.saved, t.meta = true, m
		case fresh && t.meta == m && !t.gone: // the device was refused: what it says next need not be the same
			t.meta = nil
			s.forsakeLocked(t)
		}
		s.mu.Unlock()
		answer(err)
	}})
	return nil
}

// segment takes a piece of a file.
func (s *Service) segment(p pair, cmd command, payload []byte, answer func(error)) {
	at := span{cmd.offset, int64(len(payload))}
	switch {
	case at.end() > int64(s.opts.MaxFile):
		answer(errTooBig)
		return
	case cmd.sum != nil && sha256.Sum256(payload) != *cmd.sum:
		answer(errMismatch)
		return
	case at.length == 0:
		answer(nil) // it says nothing about the file
		return
	}
	sum := crc32.Checksum(payload, castagnoli)
	t, had, err := s.reserve(p, at, sum)
	if err != nil {
		answer(err)
		return
	}
	next := stored{at: had.at, crc: sum, age: seconds(s.now())}
	var data *load
	if !had.durable || !sameBytes(t.data.File, had, payload) {
		s.sync.admit(len(payload))
		data = s.loads.take(payload, 2) // for the syncer and the prefix
	}
	place, err := s.land(t, at, next, data, answer)
	switch {
	case err != nil:
		answer(err)
	case data != nil:
		t.prefix.add(&s.hashing, at.offset, place, data)
	}
}

// A segment costs the gateway some 100 bytes of memory and more on the shelf,
// however small it is. Of a file in many they are to be worth it; a small file, or
// the ragged end of a large one, may come in any. No client has more than half of
// all segments, so that it cannot keep the others out.
const (
	manySegments = 1000
	leastAverage = 256
)

// reserve makes room for a segment, and holds the transfer's file open. had is
// the same segment if it came before with the same checksum.
func (s *Service) reserve(p pair, at span, sum uint32) (t *transfer, had stored, err error) {
	s.mu.Lock()
	err = s.storeLocked()
	s.mu.Unlock()
	if err != nil {
		return nil, had, err
	}
	if err := s.room(at.length); err != nil {
		return nil, had, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err = s.beginLocked(p)
	if err != nil {
		return nil, had, err
	}
	had, known := t.segments[at]
	mine := s.usageLocked(p.client)
	switch {
	case t.verified != nil && (t.data == nil || had.crc != sum): // what is being exported stays as it is
		err = errBusy
	case s.opts.MaxSize > 0 && s.all.bytes+at.length > int64(s.opts.MaxSize):
		err = errNoSpace
	case mine.bytes+at.length > int64(s.opts.MaxClientSize):
		err = errQuota
	case !known && (len(t.segments) >= s.opts.Segments || s.all.segments >= s.opts.AllSegments || mine.segments >= s.opts.AllSegments/2):
		err = errQuota
	case !known && len(t.segments) >= manySegments && t.charged+at.length < int64(len(t.segments)+1)*leastAverage:
		err = errTooSmall
	default:
		err = s.openLocked(t)
	}
	if err != nil {
		s.forsakeLocked(t)
		return nil, had, err
	}
	if had.crc != sum {
		had = stored{}
	}
	t.users++
	t.writers++
	s.chargeLocked(t, 0, at.length)
	return t, had, nil
}

// forsakeLocked takes a transfer back that was begun for nothing.
func (s *Service) forsakeLocked(t *transfer) {
	if t.saved || t.meta != nil || len(t.segments) > 0 || t.users > 0 || t.job != nil {
		return
	}
	s.removeLocked(t)
	s.removedLocked(t, nil) // nothing of it is on the shelf
}

// sameBytes reports whether a segment that came before has these bytes.
func sameBytes(f *os.File, had stored, payload []byte) bool {
	b := make([]byte, len(payload))
	_, err := f.ReadAt(b, had.at)
	return err == nil && bytes.Equal(b, payload)
}

// land gives a segment its place at the end of the transfer's file, and answers
// when it stands there durably; without data it does already. In a file that comes
// in order each stands where it belongs, so that the file is the result.
func (s *Service) land(t *transfer, at span, next stored, data *load, answer func(error)) (place int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.gone { // aborted meanwhile
		if data != nil {
			s.sync.settled(len(data.b))
		}
		s.releaseLocked(t)
		return 0, errGone
	}
	if t.verified != nil && data != nil { // verified meanwhile, or the disk has not what it had
		s.sync.settled(len(data.b))
		s.chargeLocked(t, 0, -at.length)
		s.releaseLocked(t)
		return 0, errBusy
	}
	st := step{client: t.client, puts: t.saveLocked(false)}
	if data == nil {
		s.chargeLocked(t, 0, -at.length) // what was reserved is not needed
	} else {
		next.at = t.end
		t.end += at.length
		st.file, st.at, st.data = t.data, next.at, data
	}
	was, known := t.segments[at]
	if !known {
		s.chargeLocked(t, 1, 0)
	}
	if !was.durable { // else that one counts until this one does
		t.segments[at] = next
	}
	if t.verified == nil { // else its record may be on its way out
		st.puts = append(st.puts, bridge.Put{Namespace: shelfSegment, Key: segmentKey(t.number, at), Value: next.encode()})
	}
	if t.job != nil && data != nil && at.end() <= t.job.size {
		t.job.disturbed = true
	}
	st.done = func(err error) {
		s.mu.Lock()
		s.settleLocked(t, at, next, err)
		t.saved = t.saved || err == nil
		if _, failed := errors.AsType[*syncError](err); failed {
			t.prefix.distrust()
		}
		if _, failed := errors.AsType[*writeError](err); failed {
			s.chargeLocked(t, 0, -at.length) // it takes no room
		}
		s.releaseLocked(t)
		s.mu.Unlock()
		answer(err)
	}
	s.sync.add(st)
	return next.at, nil
}

// releaseLocked ends what reserve began.
func (s *Service) releaseLocked(t *transfer) {
	t.writers--
	s.leaveLocked(t)
}

// settleLocked notes that a segment is durable, or that it could not be made so.
// Of several of one place the last that is durable counts, as on the shelf.
func (s *Service) settleLocked(t *transfer, at span, next stored, err error) {
	now, known := t.segments[at]
	switch {
	case !known || t.gone:
	case err == nil:
		next.durable = true
		t.segments[at] = next
	case !now.durable && now.at == next.at:
		delete(t.segments, at)
		s.chargeLocked(t, -1, 0)
	}
}

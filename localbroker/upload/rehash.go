package upload

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
)

// rehashAtOnce is how many files are read for their checksum at a time. Whoever has as
// many transfers as are allowed finishes them together: their files are read one after
// the other, and take neither the memory nor the processor from messages. A file that
// came in order needs no turn.
const rehashAtOnce = 2

// rehashPiece is how much of a file is read and hashed between two rests, and rehashTurn
// after how much it is another client's turn: who reads gigabytes keeps nobody waiting
// whose file is small.
const (
	rehashPiece = yieldPiece
	rehashTurn  = 4 << 20
)

// hash reads the pieces in order that have not been hashed as they came, and
// checks each.
func (s *Service) hash(t *transfer, plan []piece) (*checksum, error) {
	if t.data != nil && t.prefix.distrusted() {
		dropCache(t.data.File)
	}
	h, rest := t.prefix.begin(plan)
	if len(rest) > 0 {
		if err := s.reads.take(s.ending, t.client); err != nil {
			return nil, errBusy
		}
		r := &reader{s: s, t: t, h: h, buf: make([]byte, rehashPiece), ease: s.ease(), here: true}
		defer r.leave()
		for _, p := range rest {
			if err := r.read(p); err != nil {
				return nil, err
			}
		}
	}
	sum := (*checksum)(h.Sum(nil))
	t.judged = judged{planSum(plan), *sum}
	return sum, nil
}

// reader reads a transfer's file for its checksum. It has one of the places to do so.
type reader struct {
	s    *Service
	t    *transfer
	h    hash.Hash // of no use after an error
	buf  []byte
	ease *ease
	here bool  // it has the place
	had  int64 // bytes of this turn
}

func (r *reader) leave() {
	if r.here {
		r.s.reads.leave()
	}
}

// read reads one piece. When the gateway ends, it does: the device sends fin again.
func (r *reader) read(p piece) error {
	crc := uint32(0)
	for done := int64(0); done < p.length; {
		if r.s.ending.Err() != nil {
			return errBusy
		}
		if r.had >= rehashTurn {
			r.had = 0
			if err := r.s.reads.pass(r.s.ending, r.t.client); err != nil {
				r.here = false
				return errBusy
			}
		}
		b := r.buf[:min(int64(len(r.buf)), p.length-done)]
		if _, err := r.t.data.ReadAt(b, p.at+done); err != nil {
			return errors.Join(errReadSegment, err)
		}
		crc = crc32.Update(crc, castagnoli, b)
		_, _ = r.h.Write(b) // never fails
		done += int64(len(b))
		r.had += int64(len(b))
		r.ease.took(len(b))
	}
	if crc != p.crc {
		return errReadSegment
	}
	return nil
}

// judged is what the latest fin has found of a plan. A device that sends the same wrong
// checksum again and again is answered from it, and nothing is read.
type judged struct {
	plan checksum
	sum  checksum
}

// differs reports whether a plan is known to give another checksum.
func (j *judged) differs(plan []piece, want *checksum) bool {
	return j.sum != (checksum{}) && j.sum != *want && j.plan == planSum(plan)
}

// planSum tells plans apart: what a piece says of itself, its bytes have.
func planSum(plan []piece) checksum {
	h := sha256.New()
	var b []byte
	for _, p := range plan {
		b = binary.BigEndian.AppendUint64(b[:0], uint64(p.offset))
		b = binary.BigEndian.AppendUint64(b, uint64(p.length))
		b = binary.BigEndian.AppendUint64(b, uint64(p.at))
		b = binary.BigEndian.AppendUint32(b, p.crc)
		_, _ = h.Write(b) // never fails
	}
	return checksum(h.Sum(nil))
}

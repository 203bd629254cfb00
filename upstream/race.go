package upstream

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"
)

// answered ranks what failed by how much it says: 0 for silence, 2 for what a
// person must set right.
func answered(err error) int {
	if _, refused := errors.AsType[*RefusedError](err); refused {
		return 2
	}
	if _, silent := errors.AsType[*UnansweredError](err); silent || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH) {
		return 0
	}
	return 1
}

// errSlow is why a way was not taken that had not failed either.
var errSlow = errors.New("another way was there first")

// Race opens the ways in their order, each one askAgain after the one before it or
// as soon as that has failed, and takes the first that is open. One that comes
// before it in the order and is under way gets another askAgain. The error is a
// [WaysError] with every way of the order, or that of the only one.
func Race[T io.Closer](ctx context.Context, w *Ways, order []int, open func(ctx context.Context, way int) (T, error)) (T, int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		place int // in the order
		t     T
		err   error
	}
	ends := make(chan end)
	run := func(place int) {
		t, err := open(ctx, order[place])
		select {
		case ends <- end{place, t, err}:
		case <-ctx.Done():
			if err == nil {
				_ = t.Close() // a better one was there first
			}
		}
	}
	errs := make([]error, len(order))
	begun, failed := 0, 0
	won := end{place: -1}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			if won.place >= 0 {
				return settle(w, order, errs, won.t, won.place)
			}
			go run(begun)
			if begun++; begun < len(order) {
				next.Reset(askAgain)
			}
		case e := <-ends:
			if e.err != nil {
				errs[e.place] = e.err
				failed++
				w.Unreached(order[e.place], e.err, time.Now())
			} else if won.place < 0 || e.place < won.place {
				if won.place >= 0 {
					_ = won.t.Close()
				}
				won = e
			} else {
				_ = e.t.Close()
			}
			switch {
			case won.place >= 0 && better(errs, won.place) == 0:
				return settle(w, order, errs, won.t, won.place)
			case won.place >= 0 && won.place == e.place:
				next.Reset(askAgain)
			case won.place < 0 && failed == len(order):
				var none T
				return none, -1, allFailed(w, order, errs)
			case won.place < 0 && failed == begun:
				next.Reset(0) // nothing is under way
			}
		case <-ctx.Done():
			var none T
			if won.place >= 0 {
				_ = won.t.Close()
			}
			for place := range order {
				if errs[place] == nil {
					errs[place] = &UnansweredError{Address: w.Name(order[place]), Err: ctx.Err()}
					w.Unreached(order[place], errs[place], time.Now())
				}
			}
			return none, -1, allFailed(w, order, errs)
		}
	}
}

// better counts the ways before one that may still be open.
func better(errs []error, place int) (n int) {
	for _, err := range errs[:place] {
		if err == nil {
			n++
		}
	}
	return n
}

func settle[T io.Closer](w *Ways, order []int, errs []error, t T, place int) (T, int, error) {
	for i, err := range errs[:place] {
		if err == nil {
			w.Unreached(order[i], errSlow, time.Now())
		}
	}
	return t, order[place], nil
}

func allFailed(w *Ways, order []int, errs []error) error {
	if len(order) == 1 {
		return errs[0]
	}
	e := &WaysError{}
	for place, i := range order {
		e.Ways = append(e.Ways, WayStatus{Way: w.Name(i), Err: errs[place]})
	}
	return e
}

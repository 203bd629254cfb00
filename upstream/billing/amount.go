package billing

import (
	"math/big"
	"slices"
)

// Amount is money in dollars, and the bounds between which it lies when not
// everything about it is known: a price that no source says, or the unit that
// "5 KB" means. It is rational and is rounded only when shown. The zero Amount
// is nothing.
type Amount struct{ USD, Low, High *big.Rat }

// Exact is an amount that is known.
func Exact(usd *big.Rat) Amount { return Amount{usd, usd, usd} }

// Plus is the sum.
func (a Amount) Plus(b Amount) Amount {
	return Amount{sum(a.USD, b.USD), sum(a.Low, b.Low), sum(a.High, b.High)}
}

// Minus is the difference of two amounts that the same prices made: the bounds
// move together.
func (a Amount) Minus(b Amount) Amount {
	sub := func(x, y *big.Rat) *big.Rat { return new(big.Rat).Sub(known(x), known(y)) }
	return Amount{sub(a.USD, b.USD), sub(a.Low, b.Low), sub(a.High, b.High)}
}

// Times is the amount n/of times.
func (a Amount) Times(n, of int64) Amount {
	r := big.NewRat(n, of)
	mul := func(x *big.Rat) *big.Rat { return new(big.Rat).Mul(known(x), r) }
	return Amount{mul(a.USD), mul(a.Low), mul(a.High)}
}

// Spanning widens the bounds of a to those of b, which of a difference may stand the
// other way round.
func (a Amount) Spanning(b Amount) Amount {
	bounds := []*big.Rat{known(a.Low), known(a.High), known(b.Low), known(b.High)}
	return Amount{known(a.USD), slices.MinFunc(bounds, (*big.Rat).Cmp), slices.MaxFunc(bounds, (*big.Rat).Cmp)}
}

// Rat is the amount itself; it may be written to.
func (a Amount) Rat() *big.Rat { return new(big.Rat).Set(known(a.USD)) }

// Ranged reports whether the bounds differ when they are shown.
func (a Amount) Ranged() bool {
	return Dollars(known(a.Low)) != Dollars(known(a.High))
}

// Range is the bounds as text, empty when they are the same.
func (a Amount) Range() string {
	if !a.Ranged() {
		return ""
	}
	return Dollars(known(a.Low)) + " to " + Dollars(known(a.High))
}

// String is the amount with six decimals, rounded half away from zero.
func (a Amount) String() string { return Dollars(known(a.USD)) }

// Dollars shows an amount with six decimals, rounded half away from zero.
func Dollars(usd *big.Rat) string { return usd.FloatString(6) }

func known(r *big.Rat) *big.Rat {
	if r == nil {
		return new(big.Rat)
	}
	return r
}

func sum(x, y *big.Rat) *big.Rat { return new(big.Rat).Add(known(x), known(y)) }

func least(x, y *big.Rat) *big.Rat {
	if x.Cmp(y) <= 0 {
		return x
	}
	return y
}

func most(x, y *big.Rat) *big.Rat {
	if x.Cmp(y) >= 0 {
		return x
	}
	return y
}

// Loaded into a node before anything else (`--import`): its wall clock jumps by hours, back and forth, several times a lease.
const real = Date.now
let jump = 0
Date.now = () => real() + jump
setInterval(() => {
  jump = jump > 0 ? -7 * 3_600_000 : 5 * 3_600_000
}, 200).unref()

/** A worker that fails before it listens. */
throw new RangeError("thrown at the start");

"""A life in service: it answers, is taught and sleeps without stopping. There is no Ray and no HTTP here."""

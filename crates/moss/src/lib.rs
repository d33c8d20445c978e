//! Native engine for MOSS-moon-003.

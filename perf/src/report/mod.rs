//! Reports: what results look like on a terminal and in a browser.
pub mod html;
mod plots;
pub mod table;

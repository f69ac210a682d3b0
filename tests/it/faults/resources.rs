//! Too few file descriptors, too little memory, no CPU (F52–F54).
